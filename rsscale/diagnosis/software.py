"""Checks of versions, extras, and packages that are known to do harm."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from rsscale.diagnosis.check import Check

_SHOWN = ("torch", "xarray", "dask", "distributed", "zarr", "rasterio", "stackstac", "numpy")
_EXTRA = re.compile(r"^([A-Za-z0-9_.-]+).*extra\s*==\s*['\"]([a-z0-9-]+)['\"]")
# Extras that only bundle others.
_BUNDLES = ("all", "demo")


def software_checks() -> Iterator[Check]:
    """Versions, extras, and what is installed beside them."""
    yield Check("rsscale", "ok", f"{version('rsscale')}, Python {platform.python_version()}")
    yield Check("packages", "ok", ", ".join(f"{name} {version(name)}" for name in _SHOWN))
    yield _same_release()
    yield _extras()
    if _is_installed("numbagg"):
        yield Check(
            "numbagg", "note", "xarray takes it for medians, and is some five times slower by it",
            "uninstall numbagg, or set xarray.set_options(use_numbagg=False)",
        )  # fmt: skip
    yield _formats()


def _same_release() -> Check:
    both = {name: version(name) for name in ("dask", "distributed")}
    if len(set(both.values())) == 1:
        return Check("dask", "ok", "dask and distributed are of one release")
    text = ", ".join(f"{name} {number}" for name, number in both.items())
    return Check(
        "dask", "problem", f"{text}: two releases", f"pip install distributed=={both['dask']}"
    )


def missing_extras() -> dict[str, list[str]]:
    """Packages that are not installed, by the extra that brings them."""
    missing: dict[str, list[str]] = {}
    for line in requires("rsscale") or ():
        match = _EXTRA.match(line)
        if match and match.group(2) not in _BUNDLES and not _is_installed(match.group(1)):
            missing.setdefault(match.group(2), []).append(match.group(1))
    return missing


def _extras() -> Check:
    missing = missing_extras()
    if not missing:
        return Check("extras", "ok", "all are installed")
    text = "; ".join(f"{extra} (lacks {', '.join(names)})" for extra, names in missing.items())
    return Check(
        "extras", "note", f"not installed: {text}",
        f"what you need of them: pip install 'rsscale[{next(iter(missing))}]'",
    )  # fmt: skip


def _formats() -> Check:
    """Raster formats that archives use, and that a GDAL of one's own may lack."""
    import rasterio
    from rasterio.drivers import raster_driver_extensions
    from rasterio.env import GDALVersion

    with rasterio.Env() as env:
        drivers = env.drivers()
    lacking = [name for name in ("COG", "JP2OpenJPEG", "GTiff", "VRT") if name not in drivers]
    text = f"GDAL {GDALVersion.runtime()}, {len(raster_driver_extensions())} kinds of files"
    if not lacking:
        return Check("rasters", "ok", text)
    return Check(
        "rasters", "note", f"{text}; without {', '.join(lacking)}",
        "install rasterio's own wheel, which has them",
    )  # fmt: skip


def terminal_check() -> Check:
    """How progress will be shown."""
    kind = "a terminal" if sys.stderr.isatty() else "no terminal: a line every ten seconds"
    if os.environ.get("RSSCALE_LOG_FORMAT") == "json":
        kind = "JSON lines (RSSCALE_LOG_FORMAT)"
    return Check("progress", "ok", kind)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
