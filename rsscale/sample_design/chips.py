"""Pictures of sample units for interpreters: what the run saw around each, and no class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, StorageError
from rsscale.geo.ground import scale_of
from rsscale.geo.lattice import PixelBox
from rsscale.inference.constant_pixels import without_fill
from rsscale.items.bands import natural_colours
from rsscale.layers import TileKey
from rsscale.pictures.charts import INK, require_matplotlib, style, written
from rsscale.pictures.fonts import without_remarks
from rsscale.plans.plan import RunPlan
from rsscale.progress.bars import progress
from rsscale.runs.run import Run
from rsscale.steps.base import Resources

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.figure import Figure

_HALF = 24  # pixels on each side of the unit
_ENLARGED = 6  # of a picture, for one of the map
_GAP, _LINE, _TEXT = 12, 20, 13
_DPI = 100
_Panels = list[list[tuple[str, xr.DataArray]]]
"""For each period the composites of its windows, with what they are called."""
# True colour, or plants in red, as far as there are bands.
_PICTURES = (("nir", "red", "green"), ("nir", "red", "red"))
_MOST_WINDOWS = 6
# What becomes black and white, of the values of a sample of the units.
_PERCENTILES = (2.0, 98.0)
_MOST_SAMPLED = 24
_ROUND = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def write_chips(run: Run, units: gpd.GeoDataFrame, folder: Path, span: str) -> int:
    """A PNG of each unit, ``unit-000017.png``: its surroundings in each window of each period.

    The composites are those that the run's map was made from, read again around the unit alone.
    All pictures have one stretch, so that before and after compare, and water looks alike in each:
    from the second to the 98th percentile of what was seen around up to 24 of the units, evenly
    spread over their table; fill that nobody declared does not count.

    Parameters
    ----------
    run : Run
        With imagery as an input.
    units : GeoDataFrame
        ``id``, ``row`` and ``col`` of each.
    folder : Path
        Pictures that are there already are kept.
    span : str
        ``"2024"``, or ``"2023-2024"`` for a picture of before and after.

    Returns
    -------
    int
        Pictures that were written.

    Raises
    ------
    RecipeError
        When the run has no imagery.
    StorageError
        When a picture can't be written.
    MissingExtraError
        When matplotlib is not installed: the extra ``rsscale[pictures]``.
    """
    require_matplotlib("a picture of a unit")
    plan = RunPlan.read(run.folder)
    name, bands = _imagery(plan)
    rows = list(units[["id", "row", "col"]].itertuples(index=False))
    paths = {int(unit.id): folder / f"unit-{int(unit.id):06d}.png" for unit in rows}
    if all(path.exists() for path in paths.values()):
        return 0

    def read(unit: Any) -> tuple[PixelBox, _Panels]:
        box = PixelBox(unit.row, unit.col, unit.row + 1, unit.col + 1).pad(_HALF)
        return box, _panels(plan, name, bands, box, span.split("-"))

    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_SAMPLED)).round())
    sampled = {int(rows[int(n)].id): read(rows[int(n)]) for n in chosen}
    limits = _limits([panels for _, panels in sampled.values()])
    written = 0
    with progress("chips", len(units), "units") as bar:
        for unit in rows:
            path = paths[int(unit.id)]
            if not path.exists():
                box, panels = sampled.get(int(unit.id)) or read(unit)
                _save(panels, limits, plan, box, path)
                written += 1
            bar.advance()
    return written


def _imagery(plan: RunPlan) -> tuple[str, tuple[str, ...]]:
    """The input to show and its bands for red, green and blue."""
    frozen = plan.items_frozen()
    usable = {
        n: source for n, source in plan.recipe.inputs.items() if n in frozen and not source.static
    }
    if not usable:
        raise RecipeError("chips: the run reads no imagery that could be shown; leave chips out")
    for name, source in usable.items():
        if natural := natural_colours(source.bands):
            return name, natural
    for bands in _PICTURES:
        for name, source in usable.items():
            if set(bands) <= set(source.bands):
                return name, bands
    name, source = next(iter(usable.items()))
    return name, tuple([*source.bands, source.bands[-1], source.bands[-1]][:3])


def _panels(
    plan: RunPlan, name: str, bands: tuple[str, ...], box: PixelBox, periods: Sequence[str]
) -> _Panels:
    """For each period the composites ``(band, y, x)`` of its windows, with what they are called."""
    resources = Resources(NumericProfile("cpu", 1))
    tile = plan.grid.tile
    key_of = {
        period: TileKey("map", period, box.col0 // tile, -(box.row0 // tile) - 1)
        for period in periods
    }
    panels = []
    for period in periods:
        source: Any = plan.setup.source(name, at=period)
        composite = source.read(box, key_of[period], resources)["composite"].sel(band=list(bands))
        count = composite.sizes["time"]
        few = np.unique(np.linspace(0, count - 1, min(count, _MOST_WINDOWS)).round().astype(int))
        composite = composite.isel(time=few).compute(scheduler="threads")
        row = []
        for number in range(len(few)):
            moment = composite.isel(time=number)
            label = (
                str(moment["window"].item())
                if "window" in moment.coords
                else str(moment.time.values)
            )
            row.append(
                (f"{period} {label[:24]}".removesuffix(f" {period}").removesuffix(" year"), moment)
            )
        panels.append(row)
    return panels


def _limits(units: Sequence[_Panels]) -> tuple[float, float]:
    """What becomes black and white in all pictures: percentiles of what was seen, without fill."""
    seen = []
    for panels in units:
        for _, composite in (panel for row in panels for panel in row):
            values = composite.values.reshape(composite.sizes["band"], -1)
            seen.append(values[:, np.isfinite(values).all(axis=0)])
    values = without_fill(np.concatenate(seen, axis=1))
    low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 1.0)
    return float(low), float(high)


def _save(
    panels: _Panels, limits: tuple[float, float], plan: RunPlan, box: PixelBox, path: Path
) -> None:
    """Write the picture, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    scale = scale_of(plan.grid.geobox_of(box)).x * plan.grid.resolution
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with style(), without_remarks():
            figure = _page(panels, limits, scale, path.stem.replace("-", " "))
            # Without the version of matplotlib in it, the same picture is the same bytes.
            figure.savefig(partial, format="png", dpi=_DPI, metadata={"Software": None})
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error


def _page(panels: _Panels, limits: tuple[float, float], scale: float, name: str) -> Figure:
    """Periods below each other, windows side by side, a scale and the unit's number.

    A pixel of the map is a whole number of pixels; ``scale`` is its metres.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import IdentityTransform

    side = (2 * _HALF + 1) * _ENLARGED
    width = _GAP + max(map(len, panels)) * (side + _GAP)
    height = _GAP + len(panels) * (_LINE + side + _GAP) + _LINE + _GAP
    # A hundredth more, so that rounding never loses the last pixel.
    size = ((width + 0.01) / _DPI, (height + 0.01) / _DPI)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def write(text: str, x: float, y: float, align: str = "left") -> None:
        where: dict[str, Any] = {"transform": IdentityTransform(), "fontsize": 72 * _TEXT / _DPI}
        figure.text(x, height - y - _TEXT, **written(text), **where, ha=align, color=INK)

    def paste(picture: npt.NDArray[np.uint8], x: int, y: int) -> None:
        figure.figimage(picture, x, height - y - picture.shape[0], origin="upper")

    y = _GAP
    for row in panels:
        for column, (label, composite) in enumerate(row):
            x = _GAP + column * (side + _GAP)
            unseen = not np.isfinite(composite.values).any()
            write(f"{label}: nothing seen" if unseen else label, x, y)
            paste(_outlined(_stretched(composite.values, limits)), x, y + _LINE)
        y += _LINE + side + _GAP
    length = max((m for m in _ROUND if m / scale * _ENLARGED < side / 2), default=_ROUND[0])
    across = max(round(length / scale * _ENLARGED), 1)
    paste(np.full((4, across, 3), 38, np.uint8), _GAP, y + _TEXT - 4)
    write(f"{length:,} m", _GAP + across + 8, y)
    write(name, width - _GAP, y, "right")
    return figure


def _stretched(
    values: npt.NDArray[np.float32], limits: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """Three bands ``(band, y, x)`` as a picture ``(y, x, 3)``; white where nothing was seen."""
    low, high = limits
    shares = (np.moveaxis(values, 0, -1) - low) / max(high - low, 1e-9)
    seen = np.isfinite(shares).all(axis=-1, keepdims=True)
    picture = np.clip(np.nan_to_num(shares), 0, 1) * 255
    return np.where(seen, picture.round(), 255).astype(np.uint8)


def _outlined(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture enlarged by whole pixels, with a line around that of the unit."""
    large = picture.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
    start = _HALF * _ENLARGED
    for distance, value in ((1, 255), (2, 0)):
        low, high = start - distance, start + _ENLARGED + distance - 1
        large[[low, high], low : high + 1] = value
        large[low : high + 1, [low, high]] = value
    return large
