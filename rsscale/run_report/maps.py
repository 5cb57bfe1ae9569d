"""Small maps for a report, with the hectares of their legend and a scale bar."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.errors import missing_extra
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.legend.color_vision import alike
from rsscale.legend.values import class_values, declared_nodata
from rsscale.pictures.panels import ground_of
from rsscale.pictures.sheet import PALER, UNNAMED, Ground, scale_bar
from rsscale.reporting.named_times import source_step
from rsscale.reporting.pixels import COUNTED, Product, check_has, count_classes, open_level
from rsscale.runs.run import Run
from rsscale.text.wording import percent

_MOST_PAIRS = 6
_LEAST_SHARE = 1e-6  # of the area: less is the rounding of sums
_WIDEST = 900  # pixels of a picture in its longer direction
_SHOWN = (2 * _WIDEST) ** 2  # pixels that a picture is thinned from
_STEPS = ("change-years", "map")  # the temporal model's own maps are those that go with its change


@dataclass(frozen=True)
class LegendRow:
    """A class of a map with what the map has of it."""

    value: int
    name: str
    color: str
    hectares: float
    share: float


@dataclass(frozen=True)
class MapFigure:
    """One map of one span as a picture.

    Attributes
    ----------
    title : str
        ``"2023"``.
    picture : str
        A data URI of a PNG.
    width, height : int
        In which it is to be shown, true to the ground.
    legend : tuple of LegendRow
        By area, the largest first.
    bar : (float, str) or None
        Per cent of the picture's width, and the length that is, ``"2 km"``.
    note : str
        CRS, pixel, true north, and from which overview hectares were counted.
    north : float or None
        Degrees from up to true north, clockwise.
    """

    title: str
    picture: str
    width: int
    height: int
    legend: tuple[LegendRow, ...]
    bar: tuple[float, str] | None
    note: str
    north: float | None

    @property
    def described(self) -> str:
        """What the picture shows, for those who can't see it."""
        most = ", ".join(f"{row.name} {row.share:.0%}" for row in self.legend[:4])
        return f"Map of {self.title}; largest by area: {most}" if most else f"Map of {self.title}"


def map_step(state: Mapping[str, Any]) -> str | None:
    """The step whose classes are the run's map, or None."""
    steps = state["steps"]
    named = [name for name in _STEPS if name in steps]
    for name in [*named, *steps]:
        tiles = steps[name]["tiles"]
        layers = [layer["name"] for layer in steps[name].get("layers") or ()]
        if "classification" in layers and tiles["done"]:
            return str(name)
    return None


def draw_maps(run: Run, state: Mapping[str, Any], step: str, layer: str) -> list[MapFigure]:
    """A picture of each time of a layer of classes; hectares are of all its pixels.

    Memory stays that of one block of pixels, whatever the product: pictures come from the
    overviews where there are some.

    Parameters
    ----------
    run : Run
    state : mapping
        The content of ``run.json``.
    step, layer : str

    Raises
    ------
    RunFolderError
        When the step has no such layer.
    MissingExtraError
        When Pillow is not installed: the extra ``rsscale[pictures]``.
    """
    counted = open_level(run, state, step, most=COUNTED)
    shown = open_level(run, state, step, most=_SHOWN)
    spans = state["steps"][step].get("spans") or []
    values = check_has(counted.ds, layer, step)
    small = check_has(shown.ds, layer, step)
    window = _filled(small)
    ground = ground_of(check_has(run.open(step), layer, step)[0], "")
    note = ground.note
    if step != "map":  # there may be others, and gates and samples name the one that they are of
        note = f"{values.attrs.get('long_name', layer)} (step {step}); {note}"
    if counted.level:
        note += f"; hectares are those of overview {counted.level}, near those of all pixels"
    source = source_step(run, "change") if step == "change-years" else None
    observed = open_level(run, state, source, most=COUNTED) if source else None
    seen = open_level(run, state, source, most=_SHOWN) if source else None
    figures = []
    for number in range(values.sizes["time"]):
        title = spans[number] if number < len(spans) else str(values["time"].values[number])[:10]
        pixels, hectares = count_classes(counted, values[number])
        classes = classes_from_attributes(values.attrs)
        picture, factor = _thinned(small[number], window)
        is_paler = _is_inferred(picture, small[number], seen, window)
        figures.append(
            MapFigure(
                # A span of two years with a dash, as it is written.
                title=title.replace("-", "–") if "-" in title else title,  # noqa: RUF001
                picture=_png(picture, classes, is_paler),
                legend=_legend(pixels, hectares, classes),
                width=picture.shape[1],
                height=max(round(picture.shape[0] * ground.aspect), 1),
                bar=_bar(picture.shape[1], ground.thinned(factor * 2**shown.level)),
                note=note
                + _not_observed(
                    hectares, observed, values["time"].values[number], is_paler=bool(is_paler.any())
                ),
                north=ground.north,
            )
        )
    return figures


def described_likeness(maps: list[MapFigure]) -> list[str]:
    """Classes whose colours some people can't tell apart; a sentence, or none."""
    if not maps:
        return []
    rows = sorted(maps[-1].legend, key=lambda row: row.value)
    pairs = [
        f"{rows[pair.first].name} and {rows[pair.second].name} ({pair.vision})"
        for pair in alike([row.color for row in rows])[:_MOST_PAIRS]
    ]
    return [f"Hard to tell apart with another colour vision: {', '.join(pairs)}."] if pairs else []


def _legend(
    pixels: npt.NDArray[np.int64],
    hectares: npt.NDArray[np.float64],
    classes: tuple[LandClass, ...],
) -> tuple[LegendRow, ...]:
    total = hectares[:NODATA].sum() or 1.0
    known = {flag.value: flag for flag in classes}
    values = [*known, *(int(v) for v in np.flatnonzero(pixels[:NODATA]) if int(v) not in known)]
    rows = [
        LegendRow(
            value,
            known[value].name if value in known else f"value {value}, which is no class",
            known[value].color if value in known else UNNAMED,
            float(hectares[value]),
            float(hectares[value] / total),
        )
        for value in values
    ]
    return tuple(sorted(rows, key=lambda row: (-row.hectares, row.value)))


def _not_observed(
    hectares: npt.NDArray[np.float64],
    observed: Product | None,
    time: np.datetime64,
    *,
    is_paler: bool = False,
) -> str:
    """How much of a map was not observed at its time, for the note; empty where all was.

    By area: the two may be counted at different levels of overviews.
    """
    mapped = hectares[:NODATA].sum()
    if observed is None or not mapped:
        return ""
    layer = check_has(observed.ds, "classification", "map").sel(time=time)
    _, seen = count_classes(observed, layer)
    share = 1 - float(seen[:NODATA].sum() / mapped)
    if share <= _LEAST_SHARE:
        return ""
    drawn = " (paler)" if is_paler else ""
    return f"; {percent(share)}{drawn} not observed then, told by other times"


def _is_inferred(
    picture: npt.NDArray[np.uint8],
    layer: xr.DataArray,
    observed: Product | None,
    window: tuple[slice, slice],
) -> npt.NDArray[np.bool_]:
    """Where the picture of a layer has a class that was not observed at its time.

    Nowhere where what was observed has no overview as coarse as the picture.
    """
    there = None if observed is None else observed.ds.get("classification")
    if there is None or there.shape[1:] != layer.shape:
        return np.zeros(picture.shape, bool)
    known, _ = _thinned(there.sel(time=layer["time"]), window)
    inferred: npt.NDArray[np.bool_] = (picture != NODATA) & (known == NODATA)
    return inferred


def _filled(layer: xr.DataArray) -> tuple[slice, slice]:
    """Rows and columns that hold a value at any time, found in strips."""
    nodata = declared_nodata(layer)
    rows, cols = np.zeros(layer.sizes["y"], bool), np.zeros(layer.sizes["x"], bool)
    for time in range(layer.sizes["time"]):
        for top in range(0, rows.size, 2048):
            part = layer[time, top : top + 2048]
            holds = class_values(part.values, nodata, holder=str(layer.name)) != NODATA
            rows[top : top + 2048] |= holds.any(axis=1)
            cols |= holds.any(axis=0)
    if not rows.any():
        return slice(0, rows.size), slice(0, cols.size)
    return (
        slice(int(rows.argmax()), rows.size - int(rows[::-1].argmax())),
        slice(int(cols.argmax()), cols.size - int(cols[::-1].argmax())),
    )


def _thinned(
    layer: xr.DataArray, window: tuple[slice, slice]
) -> tuple[npt.NDArray[np.uint8], float]:
    """Values of evenly spaced pixels; and how many pixels of the layer one of them stands for."""
    part = layer[window]
    factor = max(max(part.shape) / _WIDEST, 1.0)
    counts = [max(math.floor(size / factor), 1) for size in part.shape]
    rows, cols = (
        ((2 * np.arange(count) + 1) * size) // (2 * count)
        for count, size in zip(counts, part.shape, strict=True)
    )
    nodata = declared_nodata(layer)
    strips = []
    for top in range(0, part.shape[0], 2048):
        inside = rows[(rows >= top) & (rows < top + 2048)] - top
        if inside.size:
            values = part[top : top + 2048].values[np.ix_(inside, cols)]
            strips.append(class_values(values, nodata, holder=str(layer.name)))
    return np.concatenate(strips), factor


def _png(
    values: npt.NDArray[np.uint8],
    classes: tuple[LandClass, ...],
    is_paler: npt.NDArray[np.bool_],
) -> str:
    """A data URI: the classes' own colours, some pixels paler; nodata is transparent."""
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("a report", "pictures") from None
    colors = dict.fromkeys(range(256), UNNAMED) | {flag.value: flag.color for flag in classes}
    picture = Image.fromarray(values, "P") if values.ndim == 2 else Image.fromarray(values)
    picture.putpalette(b"".join(bytes.fromhex(colors[k][1:]) for k in range(256)))
    file = io.BytesIO()
    if is_paler.any():  # a palette has no room for each class twice
        opaque = np.where(is_paler, round(255 * PALER), 255) * (values != NODATA)
        picture = picture.convert("RGB")
        picture.putalpha(Image.fromarray(opaque.astype(np.uint8)))
        picture.save(file, format="png")
    else:
        picture.save(file, format="png", transparency=NODATA)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _bar(width: int, ground: Ground) -> tuple[float, str] | None:
    """Per cent of a picture's width, and the length that is."""
    length, text = scale_bar(width, ground.meters)
    return (100 * length / width, text) if length else None
