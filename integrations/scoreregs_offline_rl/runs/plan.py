"""What a run has before it: its stages, their steps, and how long they take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.training.rehearsal import StageTiming

__all__ = ["Plan", "duration"]


@named_calls
@dataclass(frozen=True)
class Plan:
    """What is left of a run, by the times that were measured before it.

    Attributes:
        stages: in the order of training, those that are finished among them.
        evaluation: seconds that the roll-outs take at most, those while training included.
        minutes: those that the run was given, from which its steps follow; None: none.

    Example:
        >>> plan = Plan((StageTiming("critic", 2000, 0, 256, 0.003),), evaluation=30.0)
        >>> print(plan.table())
        | stage      | steps | rows a step | a step | left to do |
        |------------|-------|-------------|--------|------------|
        | critic     |  2000 |         256 | 3.0 ms |        6 s |
        | evaluation |       |             |        |       30 s |
        >>> plan.line(datetime(2026, 1, 1, 14, 31, 30))
        'critic 6 s, evaluation 30 s; finished about 14:32'
    """

    stages: tuple[StageTiming, ...]
    evaluation: float = 0.0
    minutes: float | None = None

    @property
    def seconds(self) -> float:
        """What all of it takes."""
        return sum(stage.seconds for stage in self.stages) + self.evaluation

    def with_steps(self, steps: Mapping[str, int]) -> "Plan":
        """Returns the plan of the same stages with other steps in all, by their names."""
        stages = tuple(
            stage if stage.done == stage.steps else replace(stage, steps=steps[stage.name])
            for stage in self.stages
        )
        return replace(self, stages=stages)

    def table(self) -> str:
        """Returns the stages as a Markdown table."""
        lines = [("stage", "steps", "rows a step", "a step", "left to do")]
        for stage in self.stages:
            steps = f"{stage.times} x {stage.steps}" if stage.times > 1 else str(stage.steps)
            if 0 < stage.done < stage.steps:
                steps += f", {stage.done} done"
            step, left = "", "finished"
            if stage.done < stage.steps:
                milliseconds = stage.step_seconds * 1e3
                step = f"{milliseconds:.{1 if milliseconds < 99.95 else 0}f} ms"
                left = duration(stage.seconds)
            lines.append((stage.name, steps, str(stage.rows), step, left))
        if self.evaluation:
            lines.append(("evaluation", "", "", "", duration(self.evaluation)))
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        rows = [
            " | ".join(
                cell.rjust(width) if column and place else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for place, line in enumerate(lines)
        ]
        rule = "|".join("-" * (width + 2) for width in widths)
        head, *body = [f"| {row} |" for row in rows]
        return "\n".join([head, f"|{rule}|", *body])

    def line(self, now: datetime) -> str:
        """Returns what is left, and when it is done, in one line.

        Args:
            now: when it begins.
        """
        parts = [
            f"{stage.name} {duration(stage.seconds)}" for stage in self.stages if stage.seconds
        ]
        if self.evaluation:
            parts.append(f"evaluation {duration(self.evaluation)}")
        end = now + timedelta(seconds=self.seconds)
        when = end.strftime("%H:%M" if end.date() == now.date() else "%Y-%m-%d %H:%M")
        return f"{', '.join(parts) or 'nothing is left to train'}; finished about {when}"

    def done(self, stage: str, step: int) -> float:
        """Returns the seconds of the plan that lie behind, at a step of a stage.

        Args:
            stage: its name.
            step: steps that it has taken, those of before this plan included.
        """
        behind = 0.0
        for its in self.stages:
            if its.name == stage:
                return behind + max(0, step - its.done) * its.step_seconds
            behind += its.seconds
        return behind


def duration(seconds: float) -> str:
    """Returns a time for people.

    Example:
        >>> duration(0.2), duration(47.0), duration(754.0), duration(7300.0), duration(400_000.0)
        ('1 s', '47 s', '13 min', '2 h 2 min', '4 d 15 h')
    """
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 100:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
