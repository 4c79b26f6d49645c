"""What is compared: the paper's settings, and one change at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.quality.scores.protocol import Protocol

__all__ = ["OURS", "PAPER_CODE", "Setting", "settings"]

PAPER_CODE = "the paper's code"
OURS = "and normalised observations"
"""The protocol itself, which settings of the policy stage are compared with."""


@dataclass(frozen=True)
class Setting:
    """A way to train a policy with the library.

    Attributes:
        label: what the results call it.
        models: the folder of its critics and behavior models, which several settings may share.
        protocol: budgets and settings of all stages.
        policy: further settings of the policy stage.
    """

    label: str
    models: str
    protocol: Protocol
    policy: Mapping[str, Any] = field(default_factory=dict)


def settings(protocol: Protocol) -> tuple[Setting, ...]:
    """Returns the settings: first those of the paper's code, last those of its policy stage."""
    paper = replace(
        protocol,
        learning_rate=3e-4,
        decay=False,
        target_rate=0.005,
        behavior_width=2 * protocol.behavior_width,
        normalize_observations=False,
    )
    raw = replace(protocol, normalize_observations=False)
    return (
        Setting("ours, as the paper's code", "paper", paper),
        Setting("other rates, half the width", "raw", raw),
        Setting(OURS, "protocol", protocol),
        Setting("and 4 draws", "protocol", protocol, {"draws": 4}),
        Setting("and even times", "protocol", protocol, {"points": "low_discrepancy"}),
        Setting("and 1024 observations", "protocol", protocol, {"batch_size": 1024}),
    )
