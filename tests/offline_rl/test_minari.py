"""Minari data sets, recorded here, row for row."""

import dataclasses
import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from gymnasium import spaces

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.minari_data import load_minari
from scoreregs_offline_rl.data.spaces import flatten_rows, interface_of
from scoreregs_offline_rl.environments.making import action_bounds, make_environment
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, data_score, evaluate
from scoreregs_offline_rl.inspection.inspection import inspect_data
from scoreregs_offline_rl.tasks import reference_returns

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")
EpisodeBuffer = pytest.importorskip("minari.data_collector").EpisodeBuffer


class Counter(gymnasium.Env):
    """Observes which episode it is and the step, ends for good in every second episode."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, parts=False):
        self.episode, self.step_ = -1, 0
        if parts:
            box = spaces.Box(-np.inf, np.inf, (1,), np.float64)
            self.observation_space = spaces.Dict({"step": box, "episode": box})

    def observe(self):
        episode, step = np.array([self.episode]), np.array([self.step_])
        if isinstance(self.observation_space, spaces.Dict):
            return {"step": step.astype(float), "episode": episode.astype(float)}
        return np.concatenate([episode, step]).astype(float)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.step_ = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action):
        self.step_ += 1
        done = self.step_ == 3
        terminal = done and self.episode % 2 == 0
        return self.observe(), 10.0 * self.episode + self.step_, terminal, done and not terminal, {}


def in_columns(observations):
    """Parts of observations, a list each."""
    if isinstance(observations[0], dict):
        return {key: in_columns([o[key] for o in observations]) for key in observations[0]}
    if isinstance(observations[0], tuple):
        return tuple(in_columns(list(part)) for part in zip(*observations, strict=True))
    return observations


def record(environment, episodes=3, cut=0):
    """Episodes of three steps, the last one shorter by `cut`."""
    buffers = []
    for episode in range(episodes):
        observations, rows = [environment.reset(seed=episode)[0]], []
        for step in range(3 - cut * (episode == episodes - 1)):
            action = np.array([(episode + step / 10) / 10], np.float32)
            observation, *row, _ = environment.step(action)
            observations.append(observation)
            rows.append((action, *row))
        actions, rewards, terminations, truncations = (
            list(part) for part in zip(*rows, strict=True)
        )
        observations = in_columns(observations)
        buffers.append(
            EpisodeBuffer(
                id=episode,
                observations=observations,
                actions=actions,
                rewards=rewards,
                terminations=terminations,
                truncations=truncations,
            )
        )
    return buffers


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def create(name, environment, **options):
    minari.create_dataset_from_buffers(
        name,
        record(environment, **options),
        env=environment if environment.spec else None,
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        data_format="hdf5",
    )
    return name


@pytest.fixture
def counted(folder):
    return create("test/counter-v0", Counter())


def by_folder(folder, name):
    return folder / name


def by_data_folder(folder, name):
    return folder / name / "data"


def by_name(folder, name):
    return name


@pytest.mark.parametrize("way", [by_name, by_folder, by_data_folder])
def test_every_step_is_kept_with_what_followed(folder, counted, way):
    data = load_minari(way(folder, counted))
    steps = [(episode, step) for episode in range(3) for step in range(3)]
    assert data.observations.tolist() == [[e, s] for e, s in steps]
    assert data.next_observations.tolist() == [[e, s + 1] for e, s in steps]
    torch.testing.assert_close(
        data.actions.flatten(), torch.tensor([(e + s / 10) / 10 for e, s in steps])
    )
    assert data.rewards.tolist() == [10.0 * e + s + 1 for e, s in steps]
    assert data.ends.tolist() == [s == 2 for _, s in steps]
    assert data.terminals.tolist() == [s == 2 and e % 2 == 0 for e, s in steps]
    assert data.returns().tolist() == [6.0, 36.0, 66.0]


def test_the_rows_of_a_real_environment_are_its_steps(folder):
    environment = gymnasium.make("Pendulum-v1", max_episode_steps=4)
    create("pendulum-v0", environment)
    data = load_minari("pendulum-v0")
    assert data.environment == 'Pendulum-v1 {"max_episode_steps": 4}'
    assert data.trajectory_lengths.tolist() == [3, 3, 3]
    inner: Any = gymnasium.make("Pendulum-v1").unwrapped
    for row in range(len(data)):
        cosine, sine, speed = data.observations[row].double().tolist()
        inner.state = np.array([np.arctan2(sine, cosine), speed])
        inner.last_u = None
        observation, reward, *_ = inner.step(data.actions[row].numpy())
        np.testing.assert_allclose(observation, data.next_observations[row].numpy(), atol=1e-5)
        np.testing.assert_allclose(reward, data.rewards[row].item(), atol=1e-5)


def test_an_episode_that_nothing_ended_is_cut(folder):
    create("test/cut-v0", Counter(), cut=1)
    data = load_minari("test/cut-v0")
    assert data.trajectory_lengths.tolist() == [3, 3, 2]
    assert data.terminals.tolist()[-2:] == [False, False]
    assert data.next_observations[-1].tolist() == [2.0, 2.0]


def test_parts_of_an_observation_are_flattened_as_gymnasium_does(folder):
    environment = Counter(parts=True)
    create("test/parts-v0", environment)
    data = load_minari("test/parts-v0")
    first = {"step": np.array([2.0]), "episode": np.array([1.0])}
    expected: Any = spaces.flatten(environment.observation_space, first)
    assert data.observations[5].tolist() == expected.tolist() == [1.0, 2.0]
    assert data.next_observations[4].tolist() == expected.tolist()


def test_row_semantics_can_be_chosen(folder, counted):
    data = load_minari(counted, LoadingConfig(rows="qlearning"))
    # Row 5 is a timeout, row 8 the last; what follows the terminal row 2 is the next episode.
    assert data.observations.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0], [2, 1]]
    assert data.next_observations[2].tolist() == [1.0, 0.0]


def test_a_terminal_row_inside_an_episode(folder, counted):
    edit(folder, counted, replace("terminations", np.array([True, False, False])))
    assert load_minari(counted).trajectory_lengths.tolist() == [3, 1, 2, 3]
    whole = load_minari(counted, LoadingConfig(terminals_end=False))
    assert whole.trajectory_lengths.tolist() == [3, 3, 3]


def test_no_episodes(folder, counted, monkeypatch):
    monkeypatch.setattr(minari.MinariDataset, "iterate_episodes", lambda self: iter(()))
    with pytest.raises(DataError, match="no episodes"):
        load_minari(counted)


def edit(folder, name, function):
    with h5py.File(folder / name / "data" / "main_data.hdf5", "a") as file:
        function(file["episode_1"])


def replace(key, array):
    def change(group):
        del group[key]
        group[key] = array

    return change


@pytest.mark.parametrize(
    ("change", "key", "row", "words"),
    [
        (replace("observations", np.zeros((3, 2))), "observations", None, "3 in episode 1"),
        (replace("actions", np.zeros((2, 1))), "actions", None, "2 in episode 1"),
        (replace("terminations", np.zeros(5, bool)), "terminations", None, "5 in episode 1"),
        (replace("rewards", np.array([0, np.nan, 0])), "rewards", 4, "nan"),
        (replace("actions", np.array([[0.0], [0.0], [np.inf]])), "actions", 5, "inf"),
        (replace("observations", np.zeros((4, 3))), "observations", None, r"not of Box.*reshape"),
        (replace("actions", np.zeros((3, 2), np.float32)), "actions", None, r"\(2,\).*place 1"),
    ],
)
def test_bad_episodes_are_refused(folder, counted, change, key, row, words):
    edit(folder, counted, change)
    with pytest.raises(DataError, match=words) as caught:
        load_minari(counted)
    assert (caught.value.source, caught.value.key, caught.value.row) == (counted, key, row)


def test_actions_stored_as_codes_are_refused(folder, counted):
    with h5py.File(folder / counted / "data" / "main_data.hdf5", "a") as file:
        for episode in file.values():
            integers = episode["actions"][()].astype(int)
            del episode["actions"]
            episode["actions"] = integers
    with pytest.raises(DataError, match=r"key 'actions': got discrete actions.*not supported"):
        load_minari(counted)


ANY_SPACE = spaces.Dict(
    {
        "speed": spaces.Box(-np.inf, np.inf, (2,), np.float64),
        "gear": spaces.Discrete(4, start=-1),
        "lamps": spaces.MultiBinary(3),
        "levers": spaces.MultiDiscrete([2, 3]),
        # Not of uint8, which Minari 0.5.3 writes as a picture and does not read as one.
        "grid": spaces.Box(0, 255, (2, 2), np.int16),
        "arm": spaces.Dict({"b": spaces.Box(0, 1, (1,)), "a": spaces.Discrete(2)}),
        "pair": spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float32))),
    }
)
LEAVES = [
    ANY_SPACE,
    spaces.Discrete(5),
    spaces.Discrete(3, start=7),
    spaces.MultiDiscrete([3, 2, 4]),
    spaces.MultiBinary((2, 2)),
    spaces.Box(-1, 1, (2, 3), np.float64),
    spaces.Tuple((spaces.Box(-1, 1, (1,)), spaces.MultiBinary(2))),
]


class Drawn(gymnasium.Env):
    """Observes draws of a space."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, space: spaces.Space[Any] = ANY_SPACE):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.taken = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.taken += 1
        return self.observation_space.sample(), 0.0, False, self.taken == 3, {}


@pytest.mark.parametrize("space", LEAVES, ids=lambda space: type(space).__name__)
def test_every_space_is_flattened_as_gymnasium_does(folder, space):
    create("test/drawn-v0", Drawn(space))
    flat = gymnasium.wrappers.FlattenObservation(Drawn(space))
    expected = []
    for seed in range(3):
        expected.append([flat.reset(seed=seed)[0]])
        expected[-1] += [flat.step(None)[0] for _ in range(3)]
    data = load_minari("test/drawn-v0")
    rows = np.array(expected, dtype=np.float32)
    np.testing.assert_array_equal(data.observations.numpy(), np.concatenate(rows[:, :-1]))
    np.testing.assert_array_equal(data.next_observations.numpy(), np.concatenate(rows[:, 1:]))


def test_numbers_that_were_stored_as_pictures():
    rows = np.array([np.zeros(3, np.uint8), np.zeros(5, np.uint8)], dtype=object)
    with pytest.raises(DataError, match=r"unlike lengths; Minari 0\.5\.3 .*: record or download"):
        flatten_rows(rows, spaces.Box(0, 255, (2, 2), np.uint8), "a log")


def test_discrete_actions_are_refused_as_such(folder):
    environment = Drawn(spaces.Box(-1, 1, (1,)))
    environment.action_space = spaces.Discrete(3)
    buffers = record(environment)
    buffers = [dataclasses.replace(buffer, actions=[0, 1, 2]) for buffer in buffers]
    minari.create_dataset_from_buffers(
        "test/codes-v0",
        buffers,
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        data_format="hdf5",
    )
    with pytest.raises(DataError, match=r"key 'actions': .*Discrete.*not supported"):
        load_minari("test/codes-v0")


def pendulum(name, *, eval_env=None, wrap=lambda env: env, **references):
    environment = wrap(gymnasium.make("Pendulum-v1", g=0.5, max_episode_steps=3))
    minari.create_dataset_from_buffers(
        name,
        record(environment),
        env=environment,
        eval_env=eval_env,
        data_format="hdf5",
        **references,
    )
    return load_minari(name)


def test_the_environment_is_the_data_sets_own(folder):
    data = pendulum("test/light-v0")
    assert data.environment == 'Pendulum-v1 {"kwargs": {"g": 0.5}, "max_episode_steps": 3}'
    # No other environment's references score it.
    assert reference_returns(data.environment) is None
    assert inspect_data(data).scores is None
    made: Any = make_environment(data.environment)
    assert (made.unwrapped.g, made.spec.max_episode_steps) == (0.5, 3)
    result = evaluate(lambda s: np.zeros((len(s), 1)), data.environment, episodes=2)
    assert (result.lengths, result.normalized_score) == ((3, 3), None)


def test_the_one_for_evaluation_comes_first(folder):
    data = pendulum("test/light-v0", eval_env=gymnasium.make("Pendulum-v1", g=2.0))
    assert data.environment == 'Pendulum-v1 {"kwargs": {"g": 2.0}}'


def test_scores_are_by_the_data_sets_own_references(folder):
    data = pendulum("test/light-v0", ref_min_score=-400.0, ref_max_score=-20.0)
    assert data.environment is not None
    theirs = minari.get_normalized_score(
        minari.load_dataset("test/light-v0"), data.returns().numpy()
    )
    scores = inspect_data(data).scores
    assert scores is not None
    assert scores == pytest.approx((100 * theirs.mean(), 100 * theirs.max()))
    assert data_score(data) == pytest.approx(100 * theirs.mean())
    result = evaluate(lambda s: np.zeros((len(s), 1)), data.environment, episodes=2)
    assert result.normalized_score == pytest.approx(100 * (result.mean + 400) / 380)
    assert EvaluationResult.from_dict(json.loads(json.dumps(dataclasses.asdict(result)))) == result


def test_wrappers_of_the_recording_are_made_again(folder):
    bounds: Any = (-1.0, 1.0)
    data = pendulum(
        "test/light-v0", wrap=lambda env: gymnasium.wrappers.RescaleAction(env, *bounds)
    )
    assert data.environment is not None
    low, high = action_bounds(data.environment)
    assert (low.tolist(), high.tolist()) == ([-1.0], [1.0])


def edit_metadata(folder, name, **changes):
    path = folder / name / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_a_file_names_is_not_run(folder, counted):
    """The environment is what its id is registered with here, whatever a file says it is."""
    spec = {
        "id": "Pendulum-v1",
        "entry_point": "os:system",
        "kwargs": {},
        "max_episode_steps": 200,
        "additional_wrappers": [],
    }
    edit_metadata(folder, counted, env_spec=json.dumps(spec))
    assert load_minari(folder / counted).environment == "Pendulum-v1"
    spec["additional_wrappers"] = [
        {"name": "x", "entry_point": "subprocess:run", "kwargs": {"shell": True}}
    ]
    edit_metadata(folder, counted, env_spec=json.dumps(spec))
    environment = load_minari(folder / counted).environment
    assert environment is not None
    with pytest.raises(ArgumentError, match=r"subprocess:run.*not run"):
        make_environment(environment)


@pytest.mark.parametrize("spec", ["{", "[]", "{}", '{"id": 3}', '{"id": "A-v0", "kwargs": 5}'])
def test_a_damaged_specification(folder, counted, spec):
    edit_metadata(folder, counted, env_spec=spec)
    with pytest.raises(DataError, match="Minari can read"):
        load_minari(folder / counted)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "Pendulum-v1", "max_episode_steps": -5},
        {"id": "Pendulum-v1", "max_episode_steps": 10**30},
        {"id": "", "kwargs": {"g": 5.0}},
        {"id": "this:Pendulum-v1"},
        {"id": "Pendulum-v1\n"},
    ],
)
def test_an_environment_that_is_none(folder, counted, changes):
    spec = {"entry_point": "a:b", "kwargs": {}, "additional_wrappers": [], **changes}
    edit_metadata(folder, counted, env_spec=json.dumps(spec))
    with pytest.raises(DataError, match="expected"):
        load_minari(folder / counted)


def test_an_episode_that_lies_in_another_file(folder, counted, tmp_path):
    outside = tmp_path / "outside.bin"
    np.zeros(3).tofile(outside)

    def elsewhere(group):
        del group["rewards"]
        group.create_dataset("rewards", (3,), float, external=str(outside))

    edit(folder, counted, elsewhere)
    with pytest.raises(DataError, match=r"rewards'.*another file"):
        load_minari(folder / counted)


def truncate(data):
    path = data / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:3000])


def spoil_metadata(data):
    path = data / "metadata.json"
    content = json.loads(path.read_text())
    del content["observation_space"], content["dataset_id"]
    path.write_text(json.dumps(content))


def ask_for_pyarrow(data):
    """Minari's other format, which needs a package that may be absent."""
    path = data / "metadata.json"
    path.write_text(path.read_text().replace('"hdf5"', '"arrow"'))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        spoil_metadata,
        lambda data: (data / "metadata.json").write_text("{"),
        lambda data: (data / "main_data.hdf5").unlink(),
        lambda data: (data / "metadata.json").unlink(),
        ask_for_pyarrow,
    ],
)
def test_a_damaged_data_set(folder, counted, damage, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    damage(folder / counted / "data")
    with pytest.raises(DataError, match=r"test/counter-v0: .*Minari can read"):
        load_minari(folder / counted)


def test_callers_at_one_time_share_one_download(folder, counted, tmp_path, monkeypatch):
    """A download is not read by others before it is whole."""
    served = folder / counted
    stored = served.rename(tmp_path / ".stored")
    downloads = []

    def download(name, **options):
        downloads.append(name)
        (served / "data").mkdir(parents=True)
        time.sleep(0.2)
        shutil.copytree(stored, served, dirs_exist_ok=True)

    monkeypatch.setattr("minari.storage.hosting.download_dataset", download)
    with ThreadPoolExecutor(3) as callers:
        loaded = list(callers.map(load_minari, [counted] * 3))
    assert [len(data) for data in loaded] == [9, 9, 9]
    assert downloads == [counted]
    assert counted in minari.list_local_datasets()


@pytest.mark.parametrize("key", ["", " ", "a\nb", 0])
def test_keys_that_are_no_names_leave_the_numbers_without(key):
    one = spaces.Box(0, 1, (1,))
    assert interface_of(spaces.Dict({"speed": one}), 1) is not None
    assert interface_of(spaces.Dict({key: one, "speed": one}), 1) is None


def test_a_cache_that_cannot_be_written_is_read(folder, counted, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("scoreregs_offline_rl.data.minari_data.FileLock", None)
    assert len(load_minari(counted)) == 9


def test_an_id_that_cannot_be_found(folder, monkeypatch):
    from huggingface_hub.errors import HfHubHTTPError

    # Without a network, what comes is the root of the HTTP library's errors.
    failure = HfHubHTTPError.__bases__[0]("no network")

    def download(*arguments, **options):
        raise failure

    monkeypatch.setattr("minari.storage.hosting.download_dataset", download)
    with pytest.raises(DataError, match=r"no network.*scoreregs\[d4rl\]"):
        load_minari("mujoco/hopper/medium-v0")
