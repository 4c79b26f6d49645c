"""PyTorch, imported without its complaint that there is no NumPy: the core does without."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    import torch

__all__ = ["torch"]
