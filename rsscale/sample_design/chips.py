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
from rsscale.items.bands import natural_colours
from rsscale.layers import TileKey
from rsscale.pictures.charts import INK, require_matplotlib, style, written
from rsscale.pictures.fonts import without_remarks
from rsscale.pictures.quicklook import rgb
from rsscale.progress.bars import progress
from rsscale.runs.plan import RunPlan
from rsscale.runs.run import Run
from rsscale.steps.base import Resources

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.figure import Figure

_HALF = 24  # pixels on each side of the unit
_ENLARGED = 6  # of a picture, for one of the map
_GAP, _LINE, _TEXT = 12, 20, 13
_DPI = 100
# True colour, or plants in red, as far as there are bands.
_PICTURES = (("nir", "red", "green"), ("nir", "red", "red"))
_MOST_WINDOWS = 6
_ROUND = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def write_chips(run: Run, units: gpd.GeoDataFrame, folder: Path, span: str) -> int:
    """A PNG of each unit, ``unit-000017.png``: its surroundings in each window of each period.

    The composites are those that the run's map was made from, read again around the unit alone.
    All panels of a picture have one stretch, so that before and after compare.

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
    written = 0
    with progress("chips", len(units), "units") as bar:
        for unit in units[["id", "row", "col"]].itertuples(index=False):
            path = folder / f"unit-{int(unit.id):06d}.png"
            if not path.exists():
                box = PixelBox(unit.row, unit.col, unit.row + 1, unit.col + 1).pad(_HALF)
                panels = _panels(plan, name, bands, box, span.split("-"))
                _save(panels, plan, box, path)
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
) -> list[list[tuple[str, xr.DataArray]]]:
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
            row.append((f"{period} {label[:24]}".removesuffix(f" {period}"), moment))
        panels.append(row)
    return panels


def _save(
    panels: list[list[tuple[str, xr.DataArray]]], plan: RunPlan, box: PixelBox, path: Path
) -> None:
    """Write the picture, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    scale = scale_of(plan.grid.geobox_of(box)).x * plan.grid.resolution
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with style(), without_remarks():
            figure = _page(panels, scale, path.stem.replace("-", " "))
            # Without the version of matplotlib in it, the same picture is the same bytes.
            figure.savefig(partial, format="png", dpi=_DPI, metadata={"Software": None})
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error


def _page(panels: list[list[tuple[str, xr.DataArray]]], scale: float, name: str) -> Figure:
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

    pictures = _stretched([composite for row in panels for _, composite in row])
    y = _GAP
    for row in panels:
        for column, (label, composite) in enumerate(row):
            x = _GAP + column * (side + _GAP)
            unseen = not np.isfinite(composite.values).any()
            write(f"{label}: nothing seen" if unseen else label, x, y)
            paste(_outlined(next(pictures)), x, y + _LINE)
        y += _LINE + side + _GAP
    length = max((m for m in _ROUND if m / scale * _ENLARGED < side / 2), default=_ROUND[0])
    across = max(round(length / scale * _ENLARGED), 1)
    paste(np.full((4, across, 3), 38, np.uint8), _GAP, y + _TEXT - 4)
    write(f"{length:,} m", _GAP + across + 8, y)
    write(name, width - _GAP, y, "right")
    return figure


def _stretched(composites: list[xr.DataArray]) -> Any:
    """Pictures of all of them, with one stretch."""
    bands = [str(band) for band in composites[0]["band"].values]
    values = np.concatenate([composite.values for composite in composites], axis=-1)
    together = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": _unique(bands)})
    picture = rgb(together, tuple(_unique(bands)))  # type: ignore[arg-type]
    return iter(np.split(picture, len(composites), axis=1))


def _unique(bands: list[str]) -> list[str]:
    """Names of three bands, of which one may be shown twice."""
    return [f"{number} {band}" for number, band in enumerate(bands)]


def _outlined(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture enlarged by whole pixels, with a line around that of the unit."""
    large = picture.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
    start = _HALF * _ENLARGED
    for distance, value in ((1, 255), (2, 0)):
        low, high = start - distance, start + _ENLARGED + distance - 1
        large[[low, high], low : high + 1] = value
        large[low : high + 1, [low, high]] = value
    return large
