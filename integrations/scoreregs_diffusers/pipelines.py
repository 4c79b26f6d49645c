"""Models and scheduler of a saved pipeline, without the rest of it."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scoreregs.errors import ArgumentError, MissingDependencyError

__all__ = ["LoadedPipeline", "load_model", "load_pipeline"]

_MODELS = ("transformer", "unet")
_SECOND = "transformer_2"
_PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}

# Pipelines whose model is called otherwise than by the rule of its class.
_ODD_PIPELINES = {
    "MarigoldDepthPipeline": "its channels begin with the picture",
    "MarigoldIntrinsicsPipeline": "its channels begin with the picture",
    "MarigoldNormalsPipeline": "its channels begin with the picture",
    **dict.fromkeys(
        (
            "QwenImageEditInpaintPipeline",
            "QwenImageEditPipeline",
            "QwenImageEditPlusPipeline",
            "QwenImageLayeredPipeline",
        ),
        "its model is handed the tokens of a picture behind those of x",
    ),
    "StableDiffusionLatentUpscalePipeline": "its model is called with log sigma and pads a channel",
}


@dataclass(frozen=True)
class LoadedPipeline:
    """What a prior needs of a pipeline.

    Attributes:
        model: the model, or the one of high noise.
        scheduler: the scheduler.
        low_noise_model: the second of two experts, or None.
        boundary_ratio: the boundary between them, as a share of the timesteps, or None.
    """

    model: nn.Module
    scheduler: Any
    low_noise_model: nn.Module | None = None
    boundary_ratio: float | None = None


def load_pipeline(
    path: str | Path, torch_dtype: torch.dtype | None, variant: str | None
) -> LoadedPipeline:
    """Returns a pipeline's models and scheduler.

    Args:
        path: a folder with a `model_index.json`, or a name on the Hub.
        torch_dtype: of the models' weights, or None for their own.
        variant: of the weights' files, or None.

    Raises:
        ArgumentError: where there is no such pipeline, it has no model or scheduler, or it calls
            its model by a rule of its own.
        MissingDependencyError: without diffusers.
    """
    _check_path(path)
    if Path(path).suffix in _PICKLES:
        raise ArgumentError(
            f"got {path}, a pickle, which runs whatever its writer put in it, expected a "
            "pipeline's folder with safetensors: convert it where you trust it, and give a network "
            "of NVlabs's EDM to scoreregs.EDMPrior"
        )
    if Path(path).suffix == ".safetensors":
        raise ArgumentError(
            f"got {path}, one file without the configuration of a model or its scheduler, expected "
            "a pipeline's folder: load the file by the model's class, as "
            "UNet2DConditionModel.from_single_file, and give both to DiffusersPrior"
        )
    config = _read_config(path)
    index = _components(config)
    _refuse_odd(config, path)
    names = [name for name in _MODELS if name in index]
    if not names:
        raise ArgumentError(
            f"got a pipeline with {', '.join(index)} at {path}, expected one with a "
            f"{' or a '.join(_MODELS)}: give model and scheduler to DiffusersPrior"
        )
    second = load_model(path, _SECOND, torch_dtype, variant) if _SECOND in index else None
    return LoadedPipeline(
        model=load_model(path, names[0], torch_dtype, variant),
        scheduler=_load(path, "scheduler"),
        low_noise_model=second,
        boundary_ratio=config.get("boundary_ratio"),
    )


def _refuse_odd(config: dict[str, Any], path: str | Path) -> None:
    """Raises `ArgumentError` for a pipeline whose model is called by a rule of its own."""
    kind = config.get("_class_name")
    if kind in _ODD_PIPELINES:
        raise ArgumentError(
            f"got a {kind} at {path}, expected another pipeline: {_ODD_PIPELINES[kind]}; write "
            "scoreregs.NetworkPrior with a function that calls the model as it does"
        )
    if config.get("expand_timesteps") and kind == "WanImageToVideoPipeline":
        raise ArgumentError(
            f"got a {kind} with expand_timesteps at {path}, whose model is handed a time for each "
            "token, zero for the picture's: expected a WanPipeline, which has one time for all"
        )
    if config.get("is_distilled"):
        raise ArgumentError(
            f"got a {kind} with is_distilled at {path}, a model distilled to few steps, whose "
            "output is no posterior mean, so that there is no score in it: expected the model that "
            "it was distilled from"
        )


def load_model(
    path: str | Path, name: str, torch_dtype: torch.dtype | None, variant: str | None
) -> Any:
    """Returns a model of a pipeline, of a class of diffusers, from safetensors.

    Args:
        path: a folder with a `model_index.json`, or a name on the Hub.
        name: the model's key and subfolder, such as "vae".
        torch_dtype: of its weights, or None for float32.
        variant: of the weights' files, or None.

    Raises:
        ArgumentError: where there is none, it cannot be read, its class is not of diffusers, or
            weights of it are missing, in whose place diffusers leaves random ones.
        MissingDependencyError: without diffusers.
    """
    # Of another type diffusers says so in its log and takes its default.
    if not isinstance(torch_dtype, (torch.dtype, type(None))):
        raise ArgumentError(f"got torch_dtype={torch_dtype!r}, expected one such as torch.bfloat16")
    if not isinstance(variant, (str, type(None))):
        raise ArgumentError(f"got variant={variant!r}, expected text such as 'fp16', or None")
    options: dict[str, Any] = {} if torch_dtype is None else {"torch_dtype": torch_dtype}
    options |= {"use_safetensors": True, "variant": variant, "output_loading_info": True}
    model, info = _load(path, name, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ArgumentError(
            f"got {name} at {path} without {len(missing)} of its weights, such as {missing[0]}, "
            f"expected all that its configuration has: {_save_again(name)}"
        )
    return model


def _load(path: str | Path, name: str, **options: Any) -> Any:
    """Returns what a component's `from_pretrained` returns."""
    library, kind = _components(_read_config(path)).get(name, (None, None))
    component = getattr(_diffusers(), kind, None) if library == "diffusers" and kind else None
    if component is None:
        raise ArgumentError(
            f"got {name} of {library}.{kind} in the pipeline at {path}, expected a class of "
            "diffusers: load it yourself and give it to DiffusersPrior"
        )
    try:
        return component.from_pretrained(path, subfolder=name, **options)
    except OSError as error:
        remedy = _remedy(path, name, options.get("variant"))
        raise _unreadable(path, name, error, remedy) from error
    # As weights of another size than the configuration says.
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _unreadable(path, name, error, _save_again(name)) from error


def _unreadable(path: str | Path, name: str, error: Exception, remedy: str) -> ArgumentError:
    return ArgumentError(
        f"got a {name} at {path} that does not load ({error}), expected its configuration "
        f"and, for a model, its weights as safetensors: {remedy}"
    )


def _save_again(name: str) -> str:
    return f"they are not of one model; save the {name} again with `save_pretrained`"


def _remedy(path: str | Path, name: str, variant: str | None) -> str:
    """Returns what to do about weights that were not found, by the files that are there."""
    files = sorted(file.name for file in (Path(path) / name).glob("*.safetensors"))
    if not files:
        return "save it again with `save_pretrained`"
    parts = files[0].split(".")
    there = parts[1].split("-0")[0] if len(parts) == 3 else None
    if there == variant:
        return (
            f"there is {files[0]}, but not its index or all that the index lists; copy the whole "
            "folder again, or save it again with `save_pretrained`"
        )
    return f"there is {files[0]}, pass variant={there!r}"


def _check_path(path: object) -> None:
    if not isinstance(path, (str, Path)):
        raise ArgumentError(
            f"got path={path!r}, expected a pipeline's folder, or its name on the Hub"
        )


def _read_config(path: str | Path) -> dict[str, Any]:
    _check_path(path)
    try:
        return dict(_diffusers().DiffusionPipeline.load_config(path))
    except OSError as error:
        raise ArgumentError(
            f"got {path}, expected a pipeline's folder with a model_index.json, or its name on "
            "the Hub"
        ) from error


def _components(config: dict[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Returns the (library, class) of each component that is there."""
    pairs = {k: v for k, v in config.items() if isinstance(v, list) and len(v) == 2}
    return {name: (library, kind) for name, (library, kind) in pairs.items() if kind is not None}


def _diffusers() -> Any:
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingDependencyError("diffusers", "diffusers") from error
