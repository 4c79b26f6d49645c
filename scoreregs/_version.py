"""The version, whose home is the installed distribution."""

from importlib import metadata

__all__ = ["__version__"]

try:
    __version__ = metadata.version("scoreregs")
except metadata.PackageNotFoundError:  # a copy of the sources that was not installed
    __version__ = "unknown"
