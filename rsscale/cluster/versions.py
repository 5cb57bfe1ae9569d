"""Versions of the packages that decide values, the same in all processes of a run."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from rsscale.errors import RunFolderError

# Of these a patch release may differ: their versions are compared without it.
_PACKAGES = ("torch", "numpy", "rasterio", "scipy", "xarray", "dask", "zarr")


@lru_cache
def versions() -> Mapping[str, str]:
    """Versions of rsscale, whole, and of what it computes with, by major and minor number."""
    releases = {"rsscale": _version("rsscale")}
    releases |= {name: ".".join(_version(name).split(".")[:2]) for name in _PACKAGES}
    return releases | {"python": ".".join(platform.python_version_tuple()[:2])}


def refuse_other_versions(wanted: Mapping[str, str]) -> None:
    """Refuse to compute a tile in a process with other packages than the one that asks.

    Raises
    ------
    RunFolderError
        Which names the machine, and each package with both versions.
    """
    mine = versions()
    other = [name for name, value in wanted.items() if mine.get(name) != value]
    if other:
        listed = ", ".join(f"{name} {mine.get(name)} for {wanted[name]}" for name in other)
        raise RunFolderError(
            f"a worker on {socket.gethostname()} has other packages than the client ({listed}), so "
            "that its tiles could differ from the others; give both the same environment"
        )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
