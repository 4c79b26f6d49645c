"""Positions that pipelines compute and hand to their models."""

from typing import Any

from torch import Tensor

__all__ = ["crop_region", "picture_positions", "video_positions"]

Corner = tuple[int, int]


def crop_region(grid: Corner, height: int, width: int) -> tuple[Corner, Corner]:
    """Returns the corners of a grid that is scaled to fit into another's middle.

    Args:
        grid: rows and columns.
        height: rows of the other.
        width: columns of the other.
    """
    rows, columns = grid
    if rows / columns > height / width:
        inner = height, round(height / rows * columns)
    else:
        inner = round(width / columns * rows), width
    top, left = round((height - inner[0]) / 2), round((width - inner[1]) / 2)
    return (top, left), (top + inner[0], left + inner[1])


def picture_positions(config: Any, x: Tensor) -> Any:
    """Returns the rotary embedding of Hunyuan-DiT for latents, (batch, channels, height, width)."""
    from diffusers.models.embeddings import get_2d_rotary_pos_embed

    patch = config["patch_size"]
    grid = x.shape[-2] // patch, x.shape[-1] // patch
    base = 512 // 8 // patch
    return get_2d_rotary_pos_embed(
        config["attention_head_dim"],
        crop_region(grid, base, base),
        grid,
        device=x.device,
        output_type="pt",
    )


def video_positions(config: Any, x: Tensor) -> Any:
    """Returns the rotary embedding of CogVideoX for (batch, frames, channels, height, width)."""
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    patch, patch_t = config["patch_size"], config.get("patch_size_t")
    grid = x.shape[-2] // patch, x.shape[-1] // patch
    base = config["sample_height"] // patch, config["sample_width"] // patch
    frames = x.shape[1]
    if patch_t is None:  # 1.0
        options: dict[str, Any] = {"crops_coords": crop_region(grid, *base)}
    else:  # 1.5
        frames = (frames + patch_t - 1) // patch_t
        options = {"crops_coords": None, "grid_type": "slice", "max_size": base}
    return get_3d_rotary_pos_embed(
        embed_dim=config["attention_head_dim"],
        grid_size=grid,
        temporal_size=frames,
        device=x.device,
        **options,
    )
