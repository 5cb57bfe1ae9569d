"""Read the panels of a picture: thinned and counted in strips, whatever the size of the map."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import xarray as xr

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import GroundScale, ground_scale, true_north
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.layers import NODATA
from rsscale.legend.classes import classes_from_attributes
from rsscale.legend.values import class_values, declared_nodata
from rsscale.pictures.sheet import Ground, Inferred, Panel

# A picture as much finer is worth a second look at the map.
_WORTH_READING_AGAIN = 0.8
_STRIP = 2048
_TURNED = 0.5  # degrees to true north from which on the picture says so

_Flags = npt.NDArray[np.bool_]


class PanelLayer(NamedTuple):
    """What a panel is read from.

    Attributes
    ----------
    title : str
    layer : DataArray
        Class values ``(y, x)``, north up.
    observed : DataArray or None
        A map of the same pixels whose nodata says where nothing was observed.
    """

    title: str
    layer: xr.DataArray
    observed: xr.DataArray | None = None

    def part(self, rows: slice, cols: slice) -> PanelLayer:
        """Some rows and columns of it."""
        observed = None if self.observed is None else self.observed.isel(y=rows, x=cols)
        return PanelLayer(self.title, self.layer.isel(y=rows, x=cols), observed)


def layers_of(
    ds: xr.Dataset, change: xr.Dataset | None, observed: xr.Dataset | None
) -> list[PanelLayer]:
    """What each panel is read from."""
    layer = _north_up(ds["classification"])
    seen = None if observed is None else _at_times_of(layer, _north_up(observed["classification"]))
    if "time" in layer.dims:
        names = _dates(layer["time"].values)
        if "span" in layer.coords:  # as the run calls them: "2023-2024" of two years
            names = [_dashed(span) for span in layer["span"].values]
        layers = [
            PanelLayer(name, layer.isel(time=k), None if seen is None else seen.isel(time=k))
            for k, name in enumerate(names)
        ]
    else:
        layers = [PanelLayer("", layer, seen)]
    if change is not None:
        changed = _north_up(change["change"])
        changed = changed.isel(time=-1) if "time" in changed.dims else changed
        if changed.shape != layers[0].layer.shape:
            raise AreaError(
                f"the change has {changed.shape} pixels, the map {layers[0].layer.shape}; draw "
                "both of the same area"
            )
        span = f" {_dashed(changed['span'].item())}" if "span" in changed.coords else ""
        layers.append(PanelLayer(f"change{span}", changed))
    return layers


def _at_times_of(layer: xr.DataArray, observed: xr.DataArray) -> xr.DataArray:
    """What was observed at the times of a layer, of which it may have more."""
    if "time" in layer.dims and "time" in observed.dims:
        there = np.isin(layer["time"].values, observed["time"].values)
        if there.all():
            observed = observed.sel(time=layer["time"].values)
    if observed.sizes != layer.sizes:
        raise AreaError(
            f"the map of what was observed has {dict(observed.sizes)} pixels, the map "
            f"{dict(layer.sizes)}; draw both of the same area and times"
        )
    return observed


def _dashed(span: object) -> str:
    """A pair of years as it is printed."""
    return str(span).replace("-", "–")  # noqa: RUF001 -- a dash between years


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


def ground_of(layer: xr.DataArray, credit: str) -> Ground:
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
    north = true_north(str(crs), x, y)
    parts = [name, f"pixel {_pixel_size(crs, (wide, high), scale)}"]
    if abs(north) >= _TURNED:
        parts.append(f"true north {abs(north):.1f}° {'east' if north > 0 else 'west'} of up")
    note = " · ".join(part for part in (*parts, credit) if part)
    return Ground(wide * scale.x, high * scale.y / (wide * scale.x), note, north)


def _pixel_size(crs: Any, size: tuple[float, float], scale: GroundScale) -> str:
    """Size of a pixel in words; on the ground, too, where that is another."""
    wide, high = size
    if crs.geographic:
        return f"{wide:.6g}°" if math.isclose(wide, high) else f"{wide:.6g}° by {high:.6g}°"
    nominal = wide * crs.proj.axis_info[0].unit_conversion_factor
    true = wide * scale.x
    if not math.isclose(true, nominal, rel_tol=1e-6):
        return f"{true:.3g} m on the ground"
    return f"{nominal:.6g} m"


def read_panels(
    layers: list[PanelLayer], ground: Ground, max_px: int
) -> tuple[list[Panel], int, float]:
    """The panels, in how many columns they stand, and pixels of the map for each of theirs.

    A product reaches to the edges of its tiles. Where an area takes a small part of that, the
    picture is made of this part, read again: thinned with the rest it would be coarse.
    """
    shape = layers[0].layer.shape
    columns = ground.columns(len(layers), shape)
    factor = ground.factor(len(layers), shape, columns, max_px)
    filled = np.zeros(shape[0], bool), np.zeros(shape[1], bool)
    panels = [_panel(layer, factor, filled) for layer in layers]
    if factor > 1 and filled[0].any():
        rows, cols = (slice(int(k.argmax()), k.size - int(k[::-1].argmax())) for k in filled)
        inner = [layer.part(rows, cols) for layer in layers]
        closer = inner[0].layer.shape
        finer = ground.factor(len(layers), closer, ground.columns(len(layers), closer), max_px)
        if finer < _WORTH_READING_AGAIN * factor:
            return read_panels(inner, ground, max_px)
    return _cropped(panels), columns, factor


def _panel(source: PanelLayer, factor: float, filled: tuple[_Flags, _Flags]) -> Panel:
    """Thin a layer to evenly spaced pixels and count all its values, in strips of rows.

    Rows and columns with a value are marked in ``filled``.
    """
    layer = source.layer
    rows, cols = (_spaced(size, factor) for size in layer.shape)
    counts, inferred = np.zeros(256, np.int64), np.zeros(256, np.int64)
    hectares: npt.NDArray[np.float64] | None = np.zeros(256)
    thinned, unobserved = [], []
    for top in range(0, layer.shape[0], _STRIP):
        strip = _strip(layer, top)
        count = np.bincount(strip.ravel(), minlength=256)
        counts += count
        size = _hectares_of_a_pixel(layer, top, top + strip.shape[0])
        hectares = None if hectares is None or size is None else hectares + count * size
        holds = strip != NODATA
        filled[0][top : top + _STRIP] |= holds.any(axis=1)
        filled[1][:] |= holds.any(axis=0)
        inside = rows[(rows >= top) & (rows < top + _STRIP)] - top
        thinned.append(strip[np.ix_(inside, cols)])
        if source.observed is not None:
            unseen = holds & (_strip(source.observed, top) == NODATA)
            inferred += np.bincount(strip[unseen], minlength=256)
            unobserved.append(unseen[np.ix_(inside, cols)])
    return Panel(
        source.title, np.concatenate(thinned), counts, hectares,
        classes_from_attributes(layer.attrs),
        Inferred(np.concatenate(unobserved), inferred) if unobserved else None,
    )  # fmt: skip


def _strip(layer: xr.DataArray, top: int) -> npt.NDArray[np.uint8]:
    """Class values of some rows, 255 where there is none."""
    values = layer.isel(y=slice(top, top + _STRIP)).values
    return class_values(values, declared_nodata(layer), holder=f"the layer {layer.name!r}")


def _hectares_of_a_pixel(layer: xr.DataArray, top: int, bottom: int) -> float | None:
    """In the middle of some rows; None where pixels have no size on the ground."""
    crs = layer.odc.crs if {"y", "x"} <= layer.coords.keys() else None
    if crs is None or min(layer.shape) < 2:
        return None
    y, x = layer["y"].values, layer["x"].values
    width, middle = abs(float(x[-1] - x[0])) / (x.size - 1), (top + bottom) // 2
    try:
        grid = Grid(str(crs), width, origin=(float(x[0]) - width / 2, float(y[0]) + width / 2))
        areas = pixel_areas(grid, PixelBox(middle, 0, middle + 1, x.size))
    except (AreaError, RecipeError):
        return None
    high = abs(float(y[-1] - y[0])) / (y.size - 1) / width
    mean = float(areas.mean()) * high / 10_000
    return mean if math.isfinite(mean) else None


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
    return [
        replace(
            panel, values=panel.values[window],
            inferred=panel.inferred and replace(panel.inferred, where=panel.inferred.where[window]),
        )
        for panel in panels
    ]  # fmt: skip
