"""The mazes and the ant of D4RL's AntMaze tasks, registered in Gymnasium under D4RL's names."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gymnasium

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.environments.antmaze import D4RLAntMaze
from scoreregs_offline_rl.tasks import PAPER_TASKS, step_limit

__all__ = ["make_antmaze", "register_antmaze"]

# Gymnasium-Robotics' map of each maze, and the cell (row, column) of D4RL's goal for evaluation.
_MAZES = {
    "umaze": ("U_MAZE", (3, 1)),
    "medium": ("MEDIUM_MAZE", (6, 6)),
    "large": ("LARGE_MAZE", (7, 9)),
}
_START = (1, 1)


def register_antmaze() -> None:
    """Makes the paper's six AntMaze tasks known to `gymnasium.make`, where they are not yet."""
    for name in PAPER_TASKS:
        if name.startswith("antmaze-") and name not in gymnasium.registry:
            gymnasium.register(
                name,
                f"{__name__}:make_antmaze",
                max_episode_steps=step_limit(name),
                kwargs={"name": name},
            )


def make_antmaze(name: str, render_mode: str | None = None) -> D4RLAntMaze:
    """Returns the environment of D4RL's AntMaze task, without its time limit.

    Gymnasium-Robotics' own mazes are mirror images of D4RL's around another origin, and its ant has
    five times the force and half the time step: what a policy learns from D4RL's data does not hold
    there. Here maze, ant, start, goal and reward are D4RL's; MuJoCo is newer.

    Args:
        name: as `antmaze-medium-play-v2`; `play` and `diverse` differ in their data only.
        render_mode: Gymnasium's.

    Raises:
        MissingDependencyError: unless Gymnasium-Robotics is installed.
    """
    try:
        from gymnasium_robotics.envs.maze import maps
        from gymnasium_robotics.envs.maze.ant_maze_v5 import AntMazeEnv
    except ImportError as error:
        raise MissingDependencyError("gymnasium-robotics", "antmaze") from error
    maze, goal = _MAZES[name.split("-")[1]]
    cells = [list(row) for row in getattr(maps, maze)]
    for (row, column), mark in ((_START, maps.RESET), (goal, maps.GOAL)):
        cells[row][column] = mark
    with tempfile.TemporaryDirectory() as folder:
        ant = Path(folder) / "ant.xml"
        ant.write_bytes(_d4rl_ant())
        made: Any = AntMazeEnv(
            render_mode=render_mode,
            # Rows go down in y there and up in D4RL: in reverse, only the origin is another.
            maze_map=cells[::-1],
            continuing_task=False,
            xml_file=str(ant),
            include_cfrc_ext_in_observation=False,
        )
    Path(made.tmp_xml_file_path).unlink()
    start, target = made.maze.unique_reset_locations[0], made.maze.unique_goal_locations[0]
    return D4RLAntMaze(made, start.copy(), target - start)


def _d4rl_ant() -> bytes:
    """Gymnasium's ant with what D4RL's has otherwise: time step, contacts and motors."""
    path = Path(gymnasium.__file__).parent / "envs/mujoco/assets/ant.xml"
    root = ElementTree.fromstring(path.read_bytes())  # noqa: S314 - Gymnasium's own file
    for place, changes in (
        ("option", {"timestep": "0.02"}),
        ("default/geom", {"solref": "0.02 1", "solimp": "0.8 0.8 0.01"}),
        ("actuator/motor", {"gear": "30"}),
    ):
        for element in root.findall(place):
            element.attrib.update(changes)
    return ElementTree.tostring(root)
