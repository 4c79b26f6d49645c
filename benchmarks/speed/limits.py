"""The limit of a step: its matrix products alone, at their shapes, on this machine.

What a step computes beside them (activations, optimiser, random numbers) could at best be hidden;
so the time of its products is what no implementation of the same mathematics in the same precision
goes below, as far as this machine's matrix library goes. Where their bytes over the memory's
bandwidth took longer than that, memory would be what holds it up.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["MatrixProducts", "bandwidth", "flops_of"]

_PRODUCTS = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
}


class MatrixProducts(TorchDispatchMode):
    """Records the matrix products within its context, to run them again.

    Example:
        >>> with MatrixProducts() as products:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> len(products)
        1
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            self._calls.append((func, [_like(argument) for argument in args]))
        return func(*args, **(kwargs or {}))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def bytes(self) -> int:
        """What the products read and write, each by itself."""
        return sum(
            sum(tensor.nbytes for tensor in (*arguments, product(*arguments)) if _is_tensor(tensor))
            for product, arguments in self._calls
        )

    def run(self) -> None:
        """Runs the products, one after the other."""
        for product, arguments in self._calls:
            product(*arguments)


def bandwidth(device: str, megabytes: int = 512, rounds: int = 5) -> float:
    """Returns the bytes per second of a copy that no cache holds, read and written."""
    source = torch.zeros(megabytes * 2**20 // 4, device=device)
    target = torch.empty_like(source)
    fastest = float("inf")
    for _ in range(rounds + 1):
        start = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * source.nbytes / fastest


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _like(tensor: Any) -> Any:
    """A tensor of the same shape and layout, with numbers of usual size."""
    if not isinstance(tensor, Tensor):
        return tensor
    copy = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return copy.fill_(0.5)


def flops_of(step: Callable[[], Any]) -> int:
    """Returns the floating point operations of a step's matrix products."""
    with MatrixProducts() as products:
        step()
    # Counted in a second run: the counter's own tracking of modules refuses `autograd.grad`.
    with FlopCounterMode(display=False) as counter:
        products.run()
    return counter.get_total_flops()
