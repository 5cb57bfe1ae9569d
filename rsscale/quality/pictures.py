"""Pictures of the places that a gate points to: the map, its confidence, and the lines there."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geom import Geometry

from rsscale.errors import RunFolderError
from rsscale.gate_rules.gate import Gate, Place
from rsscale.gate_rules.rows import CONFIDENCE
from rsscale.geo.lattice import PixelBox
from rsscale.legend.flags import FlagClass, flag_classes
from rsscale.legend.palette import palette
from rsscale.pictures.charts import (
    INK,
    new_figure,
    require_matplotlib,
    save_figure,
    style,
    written,
)
from rsscale.quality.counts import QualityCounts
from rsscale.quality.map_source import class_layer_of

_PIXELS = 400  # of a panel, about
_AROUND = 0.25  # of a place's width that is shown around it
_LINE, _PLACE = "#111111", "#e6007e"
_NOTHING = (0.92, 0.92, 0.91, 1.0)


def draw_place(step: QualityCounts, gate: Gate, place: Place) -> bytes:
    """Draw a place as a PNG: few pixels are read, however large it is.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    require_matplotlib("a picture of the worst places")
    box = _shown_box(step, place)
    spans = _spans(step, gate, place)
    layer = class_layer_of(step.map.store.layers)
    named = () if layer is None else _with_colors(flag_classes(layer.attributes))
    wanted = [(layer.name, span) for span in spans] if layer is not None else []
    if CONFIDENCE in step.map.names:
        wanted.append((CONFIDENCE, place.span))
    with style():
        figure = new_figure(430 * max(len(wanted), 1) + 190, 520)
        axes = figure.subplots(1, max(len(wanted), 1), squeeze=False)[0]
        for axis, (name, span) in zip(axes, wanted, strict=True):
            thinned = _read(step, name, span, box)
            image = _percent(thinned) if name == CONFIDENCE else _painted(thinned, named)
            extent = (box.col0, box.col1, box.row1, box.row0)
            shown = axis.imshow(
                image, extent=extent, interpolation="nearest", cmap="viridis", vmin=0, vmax=100
            )
            _draw_lines(axis, step, gate, span, box)
            _draw_box(axis, place.box)
            if name == CONFIDENCE:
                scale = figure.colorbar(shown, ax=axis, shrink=0.6, ticks=[0, 25, 50, 75, 100])
                scale.ax.set_ylabel("%", rotation=0)
            title = CONFIDENCE if name == CONFIDENCE else "classes"
            axis.set_title(**_text(f"{title}, {span}", "label"))
            axis.set_xticks([])
            axis.set_yticks([])
        _legend(figure, named)
        heading = f"{gate.title} ({gate.status}). Worst place: tile {place.tile}, {place.span}"
        figure.suptitle(**_text(heading, "t"), x=0.01, ha="left", color=INK)
        return _png(figure)


def _shown_box(step: QualityCounts, place: Place) -> PixelBox:
    """A place with what is around it; of a tile that reaches beyond the map what the map has."""
    grid = step.map.store.grid
    area = grid.box(Geometry(step.map.shape, grid.crs))
    mapped = place.box & area
    return mapped.pad(round(_AROUND * max(mapped.shape))) & area


def _spans(step: QualityCounts, gate: Gate, place: Place) -> list[str]:
    """Spans to show: a move of shares is seen beside the period before."""
    spans = list(step.map.spans)
    number = spans.index(place.span)
    return spans[max(number - 1, 0) : number + 1] if gate.name == "class-shares" else [place.span]


def _read(step: QualityCounts, name: str, span: str, box: PixelBox) -> npt.NDArray[Any]:
    """Every so many pixels of a layer, in strips, as values are stored."""
    layer, factor = step.map.layer(name), max(math.ceil(max(box.shape) / _PIXELS), 1)
    strips = []
    for row in range(box.row0, box.row1, 64 * factor):
        strip = PixelBox(row, box.col0, min(row + 64 * factor, box.row1), box.col1)
        try:
            values = step.map.store.read(name, span, strip)
        except RunFolderError:  # damaged: that is what the picture is to show
            values = np.full(strip.shape, layer.nodata, layer.numpy_dtype)
        strips.append(values[::factor, ::factor])
    return np.concatenate(strips)


def _painted(values: npt.NDArray[Any], classes: tuple[FlagClass, ...]) -> npt.NDArray[np.float64]:
    image = np.tile(np.array(_NOTHING), (*values.shape, 1))
    for flag in classes:
        image[values == flag.value, :3] = np.array(flag.rgb) / 255
    return image


def _percent(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    import matplotlib as mpl

    image: npt.NDArray[np.float64] = mpl.colormaps["viridis"](np.clip(values, 0, 100) / 100)
    image[values > 100] = _NOTHING
    return image


def _with_colors(classes: tuple[FlagClass, ...]) -> tuple[FlagClass, ...]:
    colors = palette(len(classes))
    return tuple(
        FlagClass(flag.value, flag.name, flag.color or color)
        for flag, color in zip(classes, colors, strict=True)
    )


def _draw_lines(axis: Any, step: QualityCounts, gate: Gate, span: str, box: PixelBox) -> None:
    """The lines of the gate's family; those between tiles for any other."""
    family = gate.name.removeprefix("seams-")
    size = step.windows.get(span) if family == "windows" else step.map.store.grid.tile
    if family in ("scenes", "zones") and step.edges is not None:
        scenes, zones = step.edges.labels(box, span)
        _draw_changes(axis, scenes if family == "scenes" else zones, box)
        return
    if size is not None:
        for row in range(box.row0 // size * size, box.row1, size):
            if row > box.row0:
                axis.axhline(row, color=_LINE, linewidth=0.7, linestyle=(0, (4, 3)))
        for col in range(box.col0 // size * size, box.col1, size):
            if col > box.col0:
                axis.axvline(col, color=_LINE, linewidth=0.7, linestyle=(0, (4, 3)))


def _draw_changes(axis: Any, labels: npt.NDArray[np.uint64], box: PixelBox) -> None:
    """Dots where the label of a pixel differs from its neighbour's."""
    edge = np.zeros(box.shape, bool)
    edge[:, 1:] = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    row, col = np.nonzero(edge)
    axis.scatter(col + box.col0, row + box.row0, s=1.5, color=_LINE, linewidths=0)
    axis.set_xlim(box.col0, box.col1)
    axis.set_ylim(box.row1, box.row0)


def _draw_box(axis: Any, box: PixelBox) -> None:
    from matplotlib.patches import Rectangle

    height, width = box.shape
    axis.add_patch(Rectangle((box.col0, box.row0), width, height, fill=False, edgecolor=_PLACE))


def _legend(figure: Any, classes: tuple[FlagClass, ...]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=flag.color, label=written(flag.name)["s"]) for flag in classes[:14]]
    handles.append(Patch(color=_NOTHING, label="no value"))
    figure.legend(handles=handles, loc="outside right upper", frameon=False)


def _text(text: str, key: str) -> dict[str, Any]:
    """A text by the name of the argument that takes it."""
    parts = written(text)
    return {key: parts["s"], "fontfamily": parts["fontfamily"]}


def _png(figure: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_figure(figure, Path(folder) / "place.png").read_bytes()
