"""A run directory: whose it is, where things lie in it, and which settings may still change."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from accelerate import Accelerator

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.configuration import differences, from_dict, to_dict
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.folder import FILES
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.randoms import NEWEST_DRAWS
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.resolution import complete
from scoreregs_offline_rl.stages.former import current_config
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.registry import Stages, actors_of
from scoreregs_offline_rl.training.agreement import together
from scoreregs_offline_rl.training.stage_files import is_finished

__all__ = ["GRID", "MEMBERS", "RunDirectory", "bears_on"]

GRID, MEMBERS = "grid.json", "members"
"""What a sweep has beside what a run has: who its members are, and where they lie."""

C = TypeVar("C", bound=TrainConfig)

_CONFIG, _DATA, _RESULT, _BETA = "config.json", "data.json", "result.json", "beta.json"
_HASHED = ("observations", "actions", "rewards", "next_observations", "terminals")
# Settings that bear on no stage. Where the data lies and came from is free: its hash says whether
# it is the same. What is not named here, nor a stage's, bears on all.
_FREE = {"evaluation", "trainer", "data", "loading.mirrors", "hand_over_recommended"}
_FIXED = {"trainer.mixed_precision", "trainer.draws"}
_SUFFIX = "_agent"


class RunDirectory:
    """Where a run keeps what.

    Args:
        path: the directory; it need not exist.
        kind: the class of its configuration.
    """

    def __init__(self, path: str | Path, kind: type[TrainConfig] = TrainConfig) -> None:
        self.path, self.kind = Path(path), kind

    @property
    def stages(self) -> Stages:
        """The stages of its configuration."""
        return self.kind.stages()

    @property
    def result_file(self) -> Path:
        """Where the result lies, once the run has ended."""
        return self.path / _RESULT

    def stage(self, name: str) -> Path:
        """Returns the folder of a stage; that of an older version where there is one."""
        former = [self.path / old for old in self.stages[name].former_names]
        return next((folder for folder in former if folder.exists()), self.path / name)

    def agent(self, name: str) -> Path:
        """Returns the folder of a stage's finished policy, likewise."""
        former = [self.path / _agent(old) for old in self.stages[name].former_names]
        return next((folder for folder in former if folder.exists()), self.path / _agent(name))

    def agents(self) -> dict[str, Path]:
        """Returns the folders of the finished policies by their stage's name, others' too."""
        named = {name: self.agent(name) for name in actors_of(self.stages)}
        known = set(named.values())
        found = {f.name.removesuffix(_SUFFIX): f for f in self.path.glob(f"*{_SUFFIX}")}
        others = {name: folder for name, folder in found.items() if folder not in known}
        return {name: folder for name, folder in (named | others).items() if folder.exists()}

    def holds_agent(self, name: str) -> bool:
        """Returns whether a stage's finished policy is there, with its weights."""
        return all((self.agent(name) / file).exists() for file in FILES)

    def holds_run(self) -> bool:
        """Returns whether a run, or a sweep, has begun there."""
        return (self.path / _CONFIG).exists()

    def check_for_run(self) -> None:
        """Raises `RunError` where the directory is that of a sweep or of one of its members."""
        if (self.path / GRID).exists():
            raise RunError(
                f"got {self.path}, which holds a sweep: choose another directory for the run, or "
                f"go on with `sweep`; its policies are in {self.path / MEMBERS}"
            )
        parents = self.path.resolve().parents
        if len(parents) > 1 and parents[0].name == MEMBERS and (parents[1] / GRID).exists():
            raise RunError(
                f"got {self.path}, a member of the sweep in {parents[1]}, which is trained with "
                "the others: choose another directory, and take finished weights from the sweep"
            )

    def check_for_sweep(self) -> None:
        """Raises `RunError` where the directory is that of a run."""
        if self.holds_run() and not (self.path / GRID).exists():
            raise RunError(
                f"got {self.path}, which holds a run: choose another directory for the sweep"
            )

    def read_config(self) -> TrainConfig:
        """Returns the configuration of the run.

        Raises:
            RunError: the directory holds none, or one with settings that this version, or this
                class of configuration, does not know.
        """
        if not (self.path / _CONFIG).exists():
            raise RunError(
                f"got {self.path}, which holds no run: name a directory that was trained in"
            )
        try:
            content = current_config(load_json(self.path / _CONFIG), self.stages)
            return complete(from_dict(self.kind, content))
        except ArgumentError as error:
            raise RunError(
                f"got settings in {self.path / _CONFIG} that {self.kind.__name__} does not know "
                f"({error}): read it with the version or the configuration class that wrote it"
            ) from error

    def as_begun(self, config: C) -> C:
        """Returns a configuration whose temperature and scalings, where left open, are the run's.

        So a directory goes on with what was chosen, and by the rules of the version that it began
        with.
        """
        if not self.holds_run():
            return config
        before = self.read_config()
        rewards, least = config.rewards or before.rewards, config.minimum_std or before.minimum_std
        beta = config.beta or before.beta
        return replace(config, beta=beta, rewards=rewards, minimum_std=least)

    def keep_beta(self, beta: float, excess: Mapping[float, float | None], seconds: float) -> None:
        """Writes the temperature that was chosen into the run's configuration, and why it was.

        Args:
            beta: the temperature.
            excess: `prior_error_excess` of those that were tried; None of one that diverged.
            seconds: that it took.
        """
        tried = [{"beta": b, "prior_error_excess": found} for b, found in excess.items()]
        save_json(self.path / _BETA, {"beta": beta, "tried": tried, "seconds": seconds})
        content = load_json(self.path / _CONFIG)
        save_json(self.path / _CONFIG, content | {"beta": beta})

    def chosen_beta(self) -> dict[str, Any] | None:
        """Returns what is known of a temperature that the run has chosen; None: it has not."""
        record = self.path / _BETA
        if not record.exists() or not self.holds_run():
            return None
        chosen, config = load_json(record), load_json(self.path / _CONFIG)
        # One that was given later has nothing to do with it.
        known = {"beta", "seconds"} <= set(chosen)
        return chosen if known and chosen["beta"] == config.get("beta") else None

    def settled(self, config: C) -> C:
        """Returns a configuration that says how rows and noise are drawn: as the run began."""
        draws = config.trainer.draws
        if draws is None and (self.path / _CONFIG).exists():
            draws = self.read_config().trainer.draws
        return replace(config, trainer=replace(config.trainer, draws=draws or NEWEST_DRAWS))

    def claim(
        self,
        config: TrainConfig,
        data: Transitions,
        accelerator: Accelerator,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Writes configuration and data's hash into a directory that is new or agrees with them.

        A setting may change until a stage that it bears on has started. With them goes what else
        the caller has checked, by file name.

        Raises:
            RunError: the directory holds a run of another configuration or of other data.
        """
        contents = {_CONFIG: to_dict(config), _DATA: _fingerprint(data)}
        before: dict[str, Any] = {}
        if (self.path / _CONFIG).exists():
            before[_CONFIG] = to_dict(self.read_config())
        if (self.path / _DATA).exists():
            before[_DATA] = load_json(self.path / _DATA)
        for file, old in before.items():
            changes = differences(old, contents[file])
            if fixed := [change for change in changes if self._is_fixed(file, change)]:
                raise RunError(
                    f"got another configuration than that of the run in {self.path} "
                    f"({'; '.join(fixed)}): choose another run directory, and to keep what these "
                    f"settings leave as it is, give --from {self.path}"
                )
        accelerator.wait_for_everyone()
        with together():
            if accelerator.is_main_process:
                _remove_partial(self.path)
                for name, content in {**more, **contents}.items():
                    save_json(self.path / name, content)

    def check_data(self, data: Transitions) -> None:
        """Raises `RunError` unless data is that of the run, or where there is no run."""
        changes = differences(load_json(self.path / _DATA), _fingerprint(data))
        if changes:
            raise RunError(
                f"got other data than that of the run in {self.path} ({'; '.join(changes)}): put "
                "back the data that it was trained on"
            )

    def data_hash(self) -> str:
        """Returns the hash of the run's data."""
        return load_json(self.path / _DATA)["sha256"]

    def has_started(self, names: set[str]) -> bool:
        """Returns whether one of some stages has begun."""
        return any(self.stage(name).exists() for name in names)

    def _is_fixed(self, file: str, change: str) -> bool:
        name = change.split(":")[0]
        if name.endswith(".weights") and is_finished(self.stage(name.removesuffix(".weights"))):
            # Where they came from may have moved since; the report says where that was.
            return False
        bearing = bears_on(name, self.stages) if file == _CONFIG else set(self.stages)
        return self.has_started(bearing)


def bears_on(setting: str, stages: Stages) -> set[str]:
    """Returns the stages that a setting, by its dotted name, bears on."""
    group = setting.split(".")[0]
    if setting not in _FIXED and _FREE & {group, setting}:
        return set()
    if group == "beta":
        return {name for name, stage in stages.items() if stage.follows_beta}
    return {group} if group in stages else set(stages)


def _agent(stage: str) -> str:
    return "agent" if stage == PolicyStage.name else f"{stage}{_SUFFIX}"


def _remove_partial(run_dir: Path) -> None:
    """Removes what was being written when a run was killed."""
    for path in sorted(run_dir.rglob("*.partial*"), reverse=True):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fingerprint(data: Transitions) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name in _HASHED:
        digest.update(getattr(data, name).numpy().tobytes())
    return {"rows": len(data), "sha256": digest.hexdigest()}
