"""D4RL's AntMaze: the adapter on a maze of our own, then on Gymnasium-Robotics'."""

import sys
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.environments.antmaze import D4RLAntMaze
from scoreregs_offline_rl.environments.making import action_bounds, make_environment
from scoreregs_offline_rl.evaluation.rollouts import evaluate

START, GOAL = np.array([-4.0, 6.0]), np.array([0.0, 8.0])
# D4RL's mazes for evaluation: r is the start, g the goal; x grows to the right, y downwards.
MAZES = {
    "umaze": "##### #r..# ###.# #g..# #####",
    "medium": "######## #r.##..# #..#...# ##...### #..#...# #.#..#.# #...#.g# ########",
    "large": "############ #r...#.....# #.##.#.#.#.# #......#...# #.####.###.# #..#.#.....# "
    "##.#.#.#.### #..#...#.g.# ############",
}
TASKS = (
    "antmaze-umaze-v2",
    "antmaze-umaze-diverse-v2",
    "antmaze-medium-play-v2",
    "antmaze-medium-diverse-v2",
    "antmaze-large-play-v2",
    "antmaze-large-diverse-v2",
)


class Maze(gymnasium.Env):
    """What the adapter asks of Gymnasium-Robotics' maze; an action is where the ant is put."""

    observation_space = gymnasium.spaces.Dict()
    action_space = gymnasium.spaces.Box(-100, 100, (2,), np.float64)
    position_noise_range = 0.25

    def __init__(self):
        self.ant_env = SimpleNamespace(init_qpos=np.arange(15.0), init_qvel=np.zeros(14))
        self.goal = np.zeros(2)
        self.marked = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        noise = 4 * self.position_noise_range
        self.ant_env.init_qpos[:2] = START + self.np_random.uniform(-noise, noise, 2)
        self.goal = np.full(2, 99.0)
        return self.observe(), {}

    def step(self, action):
        self.ant_env.init_qpos[:2] = action
        return self.observe(), 7.0, True, False, {"distance": 1.0, "success": True}

    def observe(self):
        qpos, qvel = self.ant_env.init_qpos, self.ant_env.init_qvel
        return {
            "achieved_goal": qpos[:2].copy(),
            "observation": np.concatenate([qpos[2:], qvel]),
            "desired_goal": self.goal,
        }

    def update_target_site_pos(self):
        self.marked = self.goal.copy()


@pytest.fixture
def maze():
    return D4RLAntMaze(Maze(), START, GOAL)


def test_the_observation_is_position_from_the_start_then_the_rest(maze):
    maze.reset(seed=0)
    observation, *_ = maze.step(START + np.array([3.0, 5.0]))
    ant = maze.unwrapped.ant_env
    assert maze.observation_space.contains(observation)
    assert observation[:2].tolist() == [3.0, 5.0]
    assert observation[2:15].tolist() == ant.init_qpos[2:].tolist()
    assert observation[15:].tolist() == ant.init_qvel.tolist()


def test_starts_and_goals_are_spread_as_d4rl_has_them(maze):
    starts = np.array([maze.reset(seed=seed)[0] for seed in range(2000)])
    positions = starts[:, :15] - np.array([0, 0, *range(2, 15)])
    assert np.abs(positions).max() <= 0.1
    np.testing.assert_allclose(positions.std(0), 0.1 / 3**0.5, rtol=0.06)
    np.testing.assert_allclose(starts[:, 15:].std(0), 0.1, rtol=0.07)
    goals = []
    for seed in range(2000):
        maze.reset(seed=seed)
        assert (maze.unwrapped.marked == maze.unwrapped.goal).all()
        goals.append(maze.unwrapped.goal - START - GOAL)
    # The sum of U(0, 1) and U(0, 0.5).
    assert np.min(goals) >= 0
    assert np.max(goals) <= 1.5
    np.testing.assert_allclose(np.mean(goals, axis=0), 0.75, atol=0.025)
    np.testing.assert_allclose(np.var(goals, axis=0), (1 + 0.25) / 12, rtol=0.08)


@pytest.mark.parametrize(("distance", "reached"), [(0.49, True), (0.51, False)])
def test_success_is_within_half_of_the_goal(maze, distance, reached):
    maze.reset(seed=1)
    place = maze.unwrapped.goal + distance * np.array([0.6, -0.8])
    _, reward, terminated, truncated, info = maze.step(place)
    assert (reward, terminated, truncated) == (float(reached), reached, False)
    assert info == {"distance": 1.0, "success": reached}


def test_a_seed_decides_start_and_goal(maze):
    found = []
    for seed in (5, 6, 5, None):
        observation, _ = maze.reset(seed=seed)
        found.append((observation.tolist(), maze.unwrapped.goal.tolist()))
    first, other, again, following = found
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert following != again


def test_without_gymnasium_robotics_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    monkeypatch.setitem(sys.modules, "gymnasium_robotics.envs.maze", None)
    with pytest.raises(MissingDependencyError, match=r"gymnasium-robotics.*scoreregs\[antmaze\]"):
        evaluate(lambda observations: np.zeros((len(observations), 8)), "antmaze-umaze-v2")


class TestReal:
    """Against what D4RL's sources say of maze, ant and episodes."""

    @pytest.fixture(autouse=True)
    def robotics(self):
        pytest.importorskip("gymnasium_robotics", reason="needs the extra `antmaze`")

    @pytest.fixture(params=TASKS)
    def task(self, request):
        return request.param

    def test_walls_start_and_goal_are_d4rls(self, task):
        made = make_environment(task)
        observation, _ = made.reset(seed=0)
        simulation: Any = made.unwrapped
        rows = MAZES[task.split("-")[1]].split()
        # D4RL puts the start, in row 1 and column 1, at the origin; a cell is 4 wide.
        cells = {
            (4.0 * (column - 1), 4.0 * (row - 1)): mark
            for row, line in enumerate(rows)
            for column, mark in enumerate(line)
        }
        origin = simulation.ant_env.data.qpos[:2] - observation[:2]
        model = simulation.model
        blocks = [i for i in range(model.ngeom) if (model.geom(i).name or "").startswith("block")]
        walls = {tuple((model.geom_pos[i][:2] - origin).round(6).tolist()) for i in blocks}
        assert walls == {place for place, mark in cells.items() if mark == "#"}
        assert (model.geom_size[blocks] == [2.0, 2.0, 1.0]).all()
        (goal,) = (place for place, mark in cells.items() if mark == "g")
        beside = simulation.goal - origin - goal
        assert ((beside >= 0) & (beside <= 1.5)).all()
        assert made.spec is not None
        assert made.spec.max_episode_steps == (700 if "umaze" in task else 1000)

    def test_the_ant_is_d4rls(self):
        simulation: Any = make_environment("antmaze-umaze-v2").unwrapped
        model = simulation.model
        assert (model.nq, model.nv, model.nu) == (15, 14, 8)
        assert model.opt.timestep == 0.02
        torques = model.actuator_gear[:, :1] * model.actuator_ctrlrange
        assert torques.tolist() == [[-30.0, 30.0]] * 8
        assert (model.geom_solref == [0.02, 1.0]).all()
        assert (model.geom_solimp[:, :3] == [0.8, 0.8, 0.01]).all()
        low, high = action_bounds("antmaze-umaze-v2")
        assert (low.tolist(), high.tolist()) == ([-1.0] * 8, [1.0] * 8)

    def test_a_step_is_a_tenth_of_a_second_of_the_simulation(self):
        made = make_environment("antmaze-medium-play-v2")
        made.reset(seed=2)
        observation, *_ = made.step(np.full(8, 0.5, np.float32))
        simulation: Any = made.unwrapped
        data = simulation.ant_env.data
        assert data.time == pytest.approx(0.1)
        assert made.metadata["render_fps"] == 10
        assert observation[2:15].tolist() == data.qpos[2:].tolist()
        assert observation[15:].tolist() == data.qvel.tolist()

    def test_an_ant_that_stays_fails(self):
        found = evaluate(lambda s: np.zeros((len(s), 8)), "antmaze-umaze-diverse-v2", episodes=2)
        assert found.returns == (0.0, 0.0)
        assert found.lengths == (700, 700)
        assert found.normalized_score == 0.0

    def test_an_ant_at_the_goal_scores_100(self):
        made = make_environment("antmaze-umaze-v2")
        made.reset(seed=4)
        simulation: Any = made.unwrapped
        data = simulation.ant_env.data
        qpos, qvel = data.qpos.copy(), data.qvel.copy()
        qpos[:2] = simulation.goal
        simulation.ant_env.set_state(qpos, qvel)
        _, reward, terminated, _, info = made.step(np.zeros(8, np.float32))
        assert (reward, terminated, info["success"]) == (1.0, True, True)
