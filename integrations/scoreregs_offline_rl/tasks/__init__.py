"""Every fact of a task, and what follows from its name."""

from scoreregs_offline_rl.tasks.d4rl import (
    FILE_SUFFIXES,
    PAPER_TASKS,
    D4RLTask,
    PaperSettings,
    ReferenceReturns,
    d4rl_infos,
    data_label,
    find_task,
    paper_settings,
    task_of_file,
)
from scoreregs_offline_rl.tasks.environment import (
    environment_for,
    normalized_score,
    reference_returns,
    scored_by_success,
    step_limit,
)
from scoreregs_offline_rl.tasks.ogbench import OGBenchTask
from scoreregs_offline_rl.tasks.recorded import RecordedEnvironment

__all__ = [
    "FILE_SUFFIXES",
    "PAPER_TASKS",
    "D4RLTask",
    "OGBenchTask",
    "PaperSettings",
    "RecordedEnvironment",
    "ReferenceReturns",
    "d4rl_infos",
    "data_label",
    "environment_for",
    "find_task",
    "normalized_score",
    "paper_settings",
    "reference_returns",
    "scored_by_success",
    "step_limit",
    "task_of_file",
]
