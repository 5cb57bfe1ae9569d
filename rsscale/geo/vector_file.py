"""Read vector files: one layer, chosen by name where a file has several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsscale.errors import nearest

_PARQUET = (".parquet", ".geoparquet")
# As QGIS and its project files write the layer of a file.
_LAYER = "|layername="
_LISTED = 12


class VectorFileError(Exception):
    """A vector file that can't be read; callers put the file's name and purpose before it."""


def split_layer(path: str | Path) -> tuple[Path, str | None]:
    """A path and the layer that it names, written as in QGIS: ``file.gpkg|layername=fields``."""
    name, _, layer = str(path).partition(_LAYER)
    return Path(name), layer or None


def read_vector(path: str | Path, layer: str | None = None, *, key: str = "layer") -> Any:
    """Read one layer of a vector file.

    Parameters
    ----------
    path : path
        Any vector file that GDAL reads, or GeoParquet. It exists.
    layer : str, optional
        Name of the layer; needed where several hold geometries.
    key : str
        What the reader's caller calls the layer, for messages.

    Returns
    -------
    geopandas.GeoDataFrame
        In the file's CRS.

    Raises
    ------
    VectorFileError
        When it can't be read, has no such layer, or has several and none is named: the message
        lists them.
    """
    path, named = split_layer(path)
    layer = layer or named
    import geopandas as gpd

    is_parquet = path.suffix.lower() in _PARQUET
    if is_parquet and layer is not None:
        raise VectorFileError(f"is GeoParquet, which has no layers; leave {key} out")
    try:
        if is_parquet:
            return gpd.read_parquet(path)
        return gpd.read_file(path, layer=_choose(_layers(path), layer, key))
    except VectorFileError:
        raise
    except Exception as error:  # noqa: BLE001 -- pyogrio, pyarrow and GDAL each raise their own
        first = " ".join(str(error).strip().partition("\n")[0].split())[:200]
        raise VectorFileError(
            f"cannot be read as a vector file: {first}; expected GeoJSON, GeoPackage, GeoParquet "
            "or another format of GDAL"
        ) from None


def _layers(path: Path) -> dict[str, bool]:
    """The layers of a file, and whether each holds geometries."""
    import pyogrio

    return {str(name): kind is not None for name, kind in pyogrio.list_layers(path)}


def _choose(layers: dict[str, bool], wanted: str | None, key: str) -> str | None:
    """The layer that is meant; the only one with geometries where none is named."""
    # Tables beside the layers, such as the styles that QGIS saves, hold no geometry.
    drawn = [name for name, has_geometry in layers.items() if has_geometry] or list(layers)
    if wanted is not None:
        if wanted not in layers:
            raise VectorFileError(
                f"has no layer {wanted!r}; it has {_listed(drawn)}{nearest(wanted, drawn)}"
            )
        return wanted
    if len(drawn) > 1:
        raise VectorFileError(
            f"has {len(drawn)} layers: {_listed(drawn)}; name one with {key}, or in the path, as "
            f"in '…{_LAYER}{drawn[-1]}'"
        )
    return drawn[0] if drawn else None


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + more
