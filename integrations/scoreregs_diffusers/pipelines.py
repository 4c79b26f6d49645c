"""Model and scheduler of a saved pipeline, without the rest of it."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scoreregs.errors import ArgumentError, MissingDependencyError

__all__ = ["load_component", "load_components"]

_MODELS = ("transformer", "unet")


def load_components(path: str | Path, torch_dtype: torch.dtype | None) -> tuple[nn.Module, Any]:
    """Returns a pipeline's model and scheduler.

    Args:
        path: a folder with a `model_index.json`, or a name on the Hub.
        torch_dtype: of the model's weights, or None for their own.

    Raises:
        ArgumentError: where there is no such pipeline, or it has no model or scheduler.
        MissingDependencyError: without diffusers.
    """
    index = _read_index(path)
    names = [name for name in _MODELS if name in index]
    if not names:
        raise ArgumentError(
            f"got a pipeline with {', '.join(index)} at {path}, expected one with a "
            f"{' or a '.join(_MODELS)}: give model and scheduler to DiffusersPrior"
        )
    options = {} if torch_dtype is None else {"torch_dtype": torch_dtype}
    model = load_component(path, names[0], use_safetensors=True, **options)
    return model, load_component(path, "scheduler")


def load_component(path: str | Path, name: str, **options: Any) -> Any:
    """Returns one component of a pipeline, of a class of diffusers.

    Args:
        path: a folder with a `model_index.json`, or a name on the Hub.
        name: the component's key and subfolder, such as "vae".
        **options: given to its `from_pretrained`.

    Raises:
        ArgumentError: where there is none, it cannot be read, or its class is not of diffusers.
        MissingDependencyError: without diffusers.
    """
    library, kind = _read_index(path).get(name, (None, None))
    component = getattr(_diffusers(), kind, None) if library == "diffusers" and kind else None
    if component is None:
        raise ArgumentError(
            f"got {name} of {library}.{kind} in the pipeline at {path}, expected a class of "
            "diffusers: load it yourself and give it to DiffusersPrior"
        )
    try:
        return component.from_pretrained(path, subfolder=name, **options)
    except OSError as error:
        raise ArgumentError(
            f"got a {name} at {path} that does not load ({error}), expected its configuration "
            "and, for a model, its weights as safetensors: save it again with `save_pretrained`"
        ) from error


def _read_index(path: str | Path) -> dict[str, tuple[str | None, str | None]]:
    """Returns the (library, class) of each component."""
    try:
        config: dict[str, Any] = dict(_diffusers().DiffusionPipeline.load_config(path))
    except OSError as error:
        raise ArgumentError(
            f"got {path}, expected a pipeline's folder with a model_index.json, or its name on "
            "the Hub"
        ) from error
    return {k: (v[0], v[1]) for k, v in config.items() if isinstance(v, list) and len(v) == 2}


def _diffusers() -> Any:
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingDependencyError("diffusers", "diffusers") from error
