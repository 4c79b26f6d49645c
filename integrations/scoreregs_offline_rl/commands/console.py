"""What the commands print."""

import time
from datetime import datetime, timedelta
from typing import Any

from tqdm import tqdm

from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.runs.plan import Plan
from scoreregs_offline_rl.stages.registry import label_of

__all__ = ["Bars", "evaluation_line", "health_line", "score_suffix", "verdict_line"]


# Seconds between two looks at the whole, and the share of it after which its own pace counts.
_EVERY, _TRUSTED = 1.0, 0.05


def health_line(finding: dict[str, Any]) -> str:
    """Returns a finding as a line for people."""
    verdict = "ok" if finding["ok"] else "WARNING"
    return f"{finding['check']} check: {verdict}, {finding['message']}"


def evaluation_line(stage: str, result: EvaluationResult) -> str:
    """Returns the evaluation of a stage's policy as a line for people."""
    interval = ""
    if result.interval is not None:
        interval = f", 95 % interval {result.interval[0]:.1f} to {result.interval[1]:.1f}"
    episodes = f"{len(result.returns)} episodes of {result.environment}"
    score = score_suffix(result.normalized_score)
    return f"{label_of(stage)}: return {result.mean:.1f}{interval}{score}, {episodes}"


def verdict_line(result: dict[str, Any], *, recommends: bool) -> str:
    """Returns policy, clone, data and what is expected as one line for people.

    Args:
        result: of a run with a verdict.
        recommends: whether the run hands over what the verdict recommends.
    """
    verdict = result["verdict"]
    numbers = []
    for name in (verdict["candidate"], verdict["reference"]):
        score, found = result["scores"].get(name), result.get(name)
        returned = None if found is None else sum(found["returns"]) / len(found["returns"])
        number = score if score is not None else returned
        numbers.append(name if number is None else f"{name} {number:.1f}")
    data = result["data_score"] if result["data_score"] is not None else result["data_return"]
    use = verdict["recommended"] if recommends else verdict["candidate"]
    told = f"verdict {'ok' if verdict['ok'] else 'WARNING'}, {verdict['message']}"
    return f"{', '.join(numbers)}, data {data:.1f}; {told}; `export` takes {use}"


def score_suffix(score: float | None) -> str:
    """Returns what follows a return: a score, where there is one."""
    return "" if score is None else f", normalised score {score:.1f}"


class Bars:
    """A progress bar for each stage, with the share of the whole run, and one for a download."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage = ""
        self._metrics: dict[str, float] = {}
        self._plan: Plan | None = None
        self._start = self._shown = 0.0

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, step: int, steps: int, metrics: dict[str, float]) -> None:
        """Shows a step of training."""
        if self._bar is None or stage != self._stage:
            self.__exit__()
            self._bar = tqdm(total=steps, initial=step - 1, desc=f"{stage:>8}", unit="step")
            self._stage = stage
        self._bar.update(step - self._bar.n)
        now = time.monotonic()
        if metrics is not self._metrics or now - self._shown > _EVERY:
            self._metrics, self._shown = metrics, now
            # Of several members the first stands for all.
            shown = {name.split("/")[0]: value for name, value in reversed(metrics.items())}
            numbers = {name: f"{shown[name]:.3g}" for name in reversed(shown)}
            self._bar.set_postfix(self._whole(stage, step) | numbers)

    def plan(self, plan: Plan) -> None:
        """Prints what is left to do, and has it stand behind the bars from now on."""
        self.__exit__()
        print(f"{plan.table()}\n{plan.line(datetime.now())}", flush=True)
        self._plan, self._start = plan, time.monotonic()

    def download(self, received: int, total: int | None) -> None:
        """Shows a download."""
        if self._bar is None or self._stage != "download":
            self.__exit__()
            self._stage = "download"
            self._bar = tqdm(
                total=total, initial=received, desc="download", unit="B", unit_scale=True
            )
        self._bar.update(received - self._bar.n)

    def _whole(self, stage: str, step: int) -> dict[str, str]:
        """Returns how far the whole is, and when it ends as far as it is known by now."""
        if self._plan is None or not self._plan.seconds:
            return {}
        share = self._plan.done(stage, step) / self._plan.seconds
        passed = time.monotonic() - self._start
        left = (1 - share) * (passed / share if share > _TRUSTED else self._plan.seconds)
        ends = datetime.now() + timedelta(seconds=left)
        return {"whole": f"{share:.0%}", "ends": f"{ends:%H:%M}"}
