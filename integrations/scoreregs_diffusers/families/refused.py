"""Models of diffusers that are refused for a reason of their own."""

__all__ = ["REFUSED"]

_CONTROL = (
    "a model that returns residuals for another: give that other one, and the residuals in its "
    "condition"
)
_BLOCK = "a block of other models, not a diffusion model"
_FLOW_MAP = (
    "a flow map, which jumps between two times: its output is a mean velocity over them, not the "
    "velocity at one, so there is no score in it"
)

REFUSED: dict[str, str] = {
    "AnyFlowFARTransformer3DModel": _FLOW_MAP,
    "AnyFlowTransformer3DModel": _FLOW_MAP,
    "ControlNetModel": _CONTROL,
    "ControlNetUnionModel": _CONTROL,
    "CosmosControlNetModel": _CONTROL,
    "DualTransformer2DModel": _BLOCK,
    "FluxControlNetModel": _CONTROL,
    "FluxMultiControlNetModel": _CONTROL,
    "HunyuanDiT2DControlNetModel": _CONTROL,
    "HunyuanDiT2DMultiControlNetModel": _CONTROL,
    "MultiControlNetModel": _CONTROL,
    "MultiControlNetUnionModel": _CONTROL,
    "QwenImageControlNetModel": _CONTROL,
    "QwenImageMultiControlNetModel": _CONTROL,
    "SD3ControlNetModel": _CONTROL,
    "SD3MultiControlNetModel": _CONTROL,
    "SanaControlNetModel": _CONTROL,
    "SparseControlNetModel": _CONTROL,
    "Transformer2DModel": (
        "an old form of DiTTransformer2DModel or PixArtTransformer2DModel: load it as that class"
    ),
    "TransformerTemporalModel": _BLOCK,
}
