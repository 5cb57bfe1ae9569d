"""Draw maps as a PNG with a legend, and imagery in true colour."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr

from rsscale.errors import AreaError, BandError, nearest
from rsscale.geo.ground import ground_scale
from rsscale.layers import NODATA
from rsscale.legend.classes import classes_from_attributes
from rsscale.legend.values import check_known, class_values, declared_nodata
from rsscale.pictures.fonts import warn_of_missing
from rsscale.pictures.page import require_matplotlib
from rsscale.pictures.sheet import Ground, Panel, draw

# A picture as much finer is worth a second look at the map.
_WORTH_READING_AGAIN = 0.8
_STRIP = 2048

_Flags = npt.NDArray[np.bool_]


def quicklook(
    ds: xr.Dataset,
    path: str | Path,
    *,
    title: str | None = None,
    change: xr.Dataset | None = None,
    credit: str | None = None,
    max_px: int = 1600,
) -> Path:
    """Draw the maps of a product with a legend.

    Letters that matplotlib's own font lacks are drawn by any font of the machine that has them;
    where none has, boxes are drawn, and a warning and the picture say which font to install.

    Parameters
    ----------
    ds : Dataset
        A product: ``classification (time, y, x)`` or ``(y, x)`` with CF flag attributes, lazy or
        not. North is up in the picture whatever the order of the rows.
    path : path
        The PNG.
    title : str, optional
        Above the maps; the product's own title when omitted.
    change : Dataset, optional
        ``change`` layer of :func:`rsscale.detect_change`, drawn as a last panel.
    credit : str, optional
        Whose data it is, in small type; the product's ``attribution`` when omitted.
    max_px : int
        All panels together are at most so many pixels wide and high, gaps not counted. Of a
        larger map the nearest pixels are drawn: class values are never averaged. The shares
        in the legend are of all pixels. Rows are read in strips, so that memory does not grow
        with their number.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    ModelError
        When the layer has no flag attributes, so that its classes are not known.
    AreaError
        When the change does not lie on the map's pixels.
    MissingExtraError
        When matplotlib is not installed: the extra ``rsscale[pictures]``.
    """
    require_matplotlib()
    layers = _layers(ds, change)
    ground = _ground(layers[0][1], credit or str(ds.attrs.get("attribution", "")))
    panels, columns, factor = _panels(layers, ground, max_px)
    heading = title if title is not None else str(ds.attrs.get("title", ""))
    names = [one.name for panel in panels for one in panel.classes]
    lacking = warn_of_missing([heading, ground.note, *names])
    ground = replace(ground, note=" · ".join(part for part in (ground.note, lacking) if part))
    page = draw(panels, columns, ground.thinned(factor), heading, max_px)
    page.save(Path(path))
    return Path(path)


def rgb(
    composite: xr.DataArray,
    bands: tuple[str, str, str] = ("red", "green", "blue"),
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> npt.NDArray[np.uint8]:
    """Make an RGB picture of three bands, stretched between two percentiles of all of them.

    One stretch for all three keeps their balance: grey stays grey.

    Parameters
    ----------
    composite : DataArray
        ``(band, y, x)``, or with one ``time``; NaN, and the value of the attribute ``nodata``
        if there is one, are nodata.
    bands : (str, str, str)
        For red, green and blue; ``("nir", "red", "green")`` shows plants in red.
    percentiles : (float, float)
        What becomes black and white.

    Returns
    -------
    uint8 array (y, x, 3)
        Pixels with nodata in any of the bands are white.

    Raises
    ------
    BandError
        When a band is missing.
    AreaError
        When there are several times.
    """
    if composite.sizes.get("time", 1) != 1:
        raise AreaError(
            f"the composite has {composite.sizes['time']} times; choose one with .isel(time=...)"
        )
    known = [str(b) for b in composite["band"].values]
    missing = [b for b in bands if b not in known]
    if missing:
        raise BandError(
            f"a picture needs the bands {list(bands)}; found {known}{nearest(missing[0], known)}"
        )
    composite = composite.squeeze("time") if "time" in composite.dims else composite
    picked = composite.sel(band=list(bands)).transpose("y", "x", "band")
    values = picked.values.astype("float32")
    nodata = composite.attrs.get("nodata", math.nan)
    empty = (~np.isfinite(values) | (values == nodata)).any(axis=-1)
    picture = np.full(values.shape, 255, np.uint8)
    if not empty.all():
        low, high = np.percentile(values[~empty], percentiles)
        stretched = np.clip((values[~empty] - low) / max(high - low, 1e-9), 0, 1) * 255
        picture[~empty] = stretched.round()
    return picture


def _layers(ds: xr.Dataset, change: xr.Dataset | None) -> list[tuple[str, xr.DataArray]]:
    """Title and layer ``(y, x)``, north up, of each panel."""
    layer = _north_up(ds["classification"])
    if "time" in layer.dims:
        names = _dates(layer["time"].values)
        layers = [(name, layer.isel(time=k)) for k, name in enumerate(names)]
    else:
        layers = [("", layer)]
    if change is not None:
        changed = _north_up(change["change"])
        changed = changed.isel(time=-1) if "time" in changed.dims else changed
        if changed.shape != layers[0][1].shape:
            raise AreaError(
                f"the change has {changed.shape} pixels, the map {layers[0][1].shape}; draw both "
                "of the same area"
            )
        layers.append(("change", changed))
    return layers


def _north_up(layer: xr.DataArray) -> xr.DataArray:
    layer = layer.transpose(..., "y", "x")
    y, x = layer["y"].values, layer["x"].values
    if "y" in layer.coords and y[0] < y[-1]:
        layer = layer.isel(y=slice(None, None, -1))
    if "x" in layer.coords and x[0] > x[-1]:
        layer = layer.isel(x=slice(None, None, -1))
    return layer


def _dates(times: npt.NDArray[Any]) -> list[str]:
    """Years where all differ, else dates."""
    days = [str(np.datetime64(t, "D")) for t in times]
    years = [day[:4] for day in days]
    return years if len(set(years)) == len(years) else days


def _ground(layer: xr.DataArray, credit: str) -> Ground:
    """Size of a pixel on the ground, by coordinates and CRS."""
    spacing = [
        abs(float(v[-1] - v[0])) / (v.size - 1) if v.size > 1 else 0.0
        for v in (layer["y"].values, layer["x"].values)
    ]
    # A map of one row or column: its pixels are taken as square.
    high, wide = spacing[0] or spacing[1] or 1.0, spacing[1] or spacing[0] or 1.0
    crs = layer.odc.crs if {"y", "x"} <= layer.coords.keys() else None
    if crs is None:
        return Ground(None, high / wide, credit)
    name = f"EPSG:{crs.epsg}" if crs.epsg else crs.proj.name
    x, y = (float(v.mean()) for v in (layer["x"].values, layer["y"].values))
    try:
        scale = ground_scale(str(crs), x, y)
    except AreaError:  # far beyond what the CRS covers: no scale bar
        note = " · ".join(part for part in (name, credit) if part)
        return Ground(None, high / wide, note)
    if crs.geographic:
        size = f"{wide:.6g}°" if math.isclose(wide, high) else f"{wide:.6g}° by {high:.6g}°"
    else:
        nominal = wide * crs.proj.axis_info[0].unit_conversion_factor
        true = wide * scale.x
        size = f"{nominal:.6g} m"
        if not math.isclose(true, nominal, rel_tol=1e-6):
            size = f"{true:.3g} m on the ground"
    aspect = high * scale.y / (wide * scale.x)
    parts = [name, f"pixel {size}", credit]
    return Ground(wide * scale.x, aspect, " · ".join(part for part in parts if part))


def _panels(
    layers: list[tuple[str, xr.DataArray]], ground: Ground, max_px: int
) -> tuple[list[Panel], int, float]:
    """The panels, in how many columns they stand, and pixels of the map for each of theirs.

    A product reaches to the edges of its tiles. Where an area takes a small part of that, the
    picture is made of this part, read again: thinned with the rest it would be coarse.
    """
    shape = layers[0][1].shape
    columns = ground.columns(len(layers), shape)
    factor = ground.factor(len(layers), shape, columns, max_px)
    filled = np.zeros(shape[0], bool), np.zeros(shape[1], bool)
    panels = [_panel(name, layer, factor, filled) for name, layer in layers]
    if factor > 1 and filled[0].any():
        rows, cols = (slice(int(k.argmax()), k.size - int(k[::-1].argmax())) for k in filled)
        inner = [(name, layer.isel(y=rows, x=cols)) for name, layer in layers]
        closer = inner[0][1].shape
        finer = ground.factor(len(layers), closer, ground.columns(len(layers), closer), max_px)
        if finer < _WORTH_READING_AGAIN * factor:
            return _panels(inner, ground, max_px)
    return _cropped(panels), columns, factor


def _panel(name: str, layer: xr.DataArray, factor: float, filled: tuple[_Flags, _Flags]) -> Panel:
    """Thin a layer to evenly spaced pixels and count all its values, in strips of rows.

    Rows and columns with a value are marked in ``filled``.
    """
    rows, cols = (_spaced(size, factor) for size in layer.shape)
    counts, nodata = np.zeros(256, np.int64), declared_nodata(layer)
    thinned = []
    for top in range(0, layer.shape[0], _STRIP):
        strip = layer.isel(y=slice(top, top + _STRIP)).values
        strip = class_values(strip, nodata, holder=f"the layer {layer.name!r}")
        counts += np.bincount(strip.ravel(), minlength=256)
        holds = strip != NODATA
        filled[0][top : top + _STRIP] |= holds.any(axis=1)
        filled[1][:] |= holds.any(axis=0)
        inside = rows[(rows >= top) & (rows < top + _STRIP)] - top
        thinned.append(strip[np.ix_(inside, cols)])
    classes = classes_from_attributes(layer.attrs)
    check_known(
        {int(v): int(counts[v]) for v in np.flatnonzero(counts)}, classes, holder=name or "map"
    )
    return Panel(name, np.concatenate(thinned), counts, classes)


def _spaced(size: int, factor: float) -> npt.NDArray[np.int64]:
    """Indices of the pixels that hold the centres of ``size / factor`` equal parts."""
    count = max(math.floor(size / factor), 1)
    indices: npt.NDArray[np.int64] = ((2 * np.arange(count) + 1) * size) // (2 * count)
    return indices


def _cropped(panels: list[Panel]) -> list[Panel]:
    """Crop off the outer rows and columns in which no panel has a value."""
    filled = np.any([panel.values != NODATA for panel in panels], axis=0)
    if not filled.any():
        return panels
    rows, cols = (np.flatnonzero(filled.any(axis=axis)) for axis in (1, 0))
    window = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    return [replace(panel, values=panel.values[window]) for panel in panels]
