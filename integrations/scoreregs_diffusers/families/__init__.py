"""Rules of how the models of diffusers are called, one row for each family."""

from typing import Any

from scoreregs.errors import ArgumentError
from scoreregs_diffusers.families.base import Family, ModelInput
from scoreregs_diffusers.families.dits import DITS
from scoreregs_diffusers.families.flux import FLUX
from scoreregs_diffusers.families.refused import REFUSED
from scoreregs_diffusers.families.unets import UNETS
from scoreregs_diffusers.families.videos import VIDEOS
from scoreregs_diffusers.layouts import AsItIs

__all__ = ["FAMILIES", "REFUSED", "Family", "ModelInput", "family_of"]

FAMILIES: tuple[Family, ...] = (*UNETS, *DITS, *FLUX, *VIDEOS)

_BY_MODEL = {model: family for family in FAMILIES for model in family.models}

# A model of one's own in the manner of diffusers is called as the U-Nets are.
_OWN = Family(name="own", models=(), layout=AsItIs())


def family_of(model: Any, refiner: bool = False) -> Family:
    """Returns the rule of a model's class.

    Args:
        model: the model.
        refiner: whether a model of low noise alone is welcome.

    Raises:
        ArgumentError: for a class of diffusers that has none, and for a configuration that the
            family's rule does not cover.
    """
    name = _model_of_diffusers(model)
    if name is None:
        return _OWN
    if name not in _BY_MODEL:
        unknown = "a model whose pipeline's way to call it is not known"
        raise ArgumentError(_refusal(name, REFUSED.get(name, unknown)))
    family, config = _BY_MODEL[name], getattr(model, "config", {})
    reason = family.refuse(config)
    if reason is None and not refiner:
        reason = family.refuse_alone(config)
    if reason is not None:
        raise ArgumentError(_refusal(name, reason))
    return family


def _model_of_diffusers(model: Any) -> str | None:
    """Returns the nearest class of model that diffusers defines, or None for one of one's own.

    The nearest alone: a class of diffusers that derives from another may be called otherwise.
    """
    for base in type(model).__mro__:
        ancestors = {ancestor.__name__ for ancestor in base.__mro__[1:]}
        if base.__module__.startswith("diffusers.") and "ModelMixin" in ancestors:
            return base.__name__
    return None


def _refusal(name: str, reason: str) -> str:
    known = ", ".join(model for family in FAMILIES for model in family.models)
    return (
        f"got a {name}, {reason}; expected one of {known}: for another, write "
        "scoreregs.NetworkPrior(network, schedule, prediction, time_map) with a function that "
        "calls it as its pipeline does"
    )
