"""Noisers: the times and noise with which x is diffused in Eq. 15."""

from scoreregs.noisers.base import Noised, Noiser
from scoreregs.noisers.gaussian import AntitheticNoise, FixedNoise, IndependentNoise
from scoreregs.noisers.inversion import InvertedNoise
from scoreregs.noisers.named import NoiserLike, as_noiser

__all__ = [
    "AntitheticNoise",
    "FixedNoise",
    "IndependentNoise",
    "InvertedNoise",
    "Noised",
    "Noiser",
    "NoiserLike",
    "as_noiser",
]
