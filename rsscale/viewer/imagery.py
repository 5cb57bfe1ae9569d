"""A pyramid of imagery beside a run, made of the run's own input, to compare its map with."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import in_memory
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.inference.constant_pixels import without_fill
from rsscale.items.bands import natural_colours, natural_colours_of
from rsscale.items.freeze import read_geoparquet, to_items
from rsscale.layers import TileKey
from rsscale.passes.imagery import Edge, ImageryOptions, middle_window
from rsscale.plans.plan import RunPlan, read_frozen
from rsscale.progress.bars import announce, progress
from rsscale.recipe import Recipe, read_recipe
from rsscale.runs.run import Run, run
from rsscale.steps.base import Resources
from rsscale.steps.sources import InputSource
from rsscale.store.run_folder import RunFolder

_log = logging.getLogger(__name__)

FOLDER = "viewer/imagery"
"""Run folder of the imagery, in the run that it belongs to."""
STORE = "imagery.zarr"
_STEP, _OVERVIEWS = "imagery", "imagery-overviews"
# Pixels of all periods together: of a larger product the imagery is coarser, by powers of two.
_MOST = 100_000_000
# The sample that the stretch comes from: boxes of pixels four times as wide as those of the
# imagery, so that overviews of the scenes are read; at most so many, evenly spread over the area.
_COARSER, _SIDE, _MOST_BOXES = 2, WARP_BLOCK, 8
_PERCENTILES = (2.0, 98.0)
# Values of which nearly all lie here are reflectances.
_REFLECTANCE = (-0.2, 1.0)
_WHITEST = 0.6  # of these, so that clouds that a mask left make no picture dark

Stretch = tuple[Edge, Edge]
"""What becomes black and what white, in the values of the composite."""


def imagery_folder(folder: RunFolder) -> RunFolder:
    """The run of a run's imagery; need not exist."""
    return RunFolder.at(folder.storage.child(FOLDER))


def make_imagery(folder: RunFolder, stretch: tuple[float, float] | None = None, **how: Any) -> Run:
    """Compute red, green and blue composites of a run's first input that has them, with overviews.

    Bands are known by their names (``red``, ``B04``), else by the common names of the run's items
    (``SR_B3`` of Landsat 7).

    A run of its own in ``viewer/imagery``: what is there is kept, what was interrupted goes on. The
    catalogue is searched again. Pixels are as wide as the run's, or twice, four times … as wide
    where there would be more than 100 million of them.

    Parameters
    ----------
    folder : RunFolder
        A run with an input of the bands red, green and blue.
    stretch : (float, float), optional
        What becomes black and white, in the values of the composite; imagery that was made with
        another is made again. When omitted, that of the imagery that is there; else from a sample
        of the product, see :func:`sampled_stretch`.
    **how
        ``client``, ``device``, ``threads``: as for :func:`rsscale.run`.

    Raises
    ------
    RecipeError
        When no input has these bands, or the stretch is not in order.
    """
    plan = RunPlan.read(folder)
    state = folder.read_state()
    area = str(folder.storage.local(state["area"]))
    natural = _natural_of_items(folder, plan.recipe)
    made = imagery_recipe(plan.recipe, area, state["extent"], natural)
    beside = imagery_folder(folder)
    kept = _kept_stretch(beside)
    low, high = _checked(stretch) or kept or sampled_stretch(plan, read_recipe(made))
    made["steps"][_STEP] |= {"low": low, "high": high}
    announce(
        f"imagery  {_text(low)} is black and {_text(high)} white in the values of the composite; "
        "another: --stretch LOW HIGH"
    )
    return run(made, beside.url, update=kept not in (None, (low, high)), **how)


def _checked(stretch: tuple[float, float] | None) -> Stretch | None:
    if stretch is None:
        return None
    low, high = stretch
    if not (low < high and math.isfinite(high - low)):
        raise RecipeError(
            f"the stretch is {low:g} {high:g}; expected what becomes black and, above it, what "
            "becomes white, in the values of the composite"
        )
    return float(low), float(high)


def _text(edge: Edge) -> str:
    return "/".join(f"{value:g}" for value in (edge if isinstance(edge, tuple) else (edge,)))


def _kept_stretch(beside: RunFolder) -> Stretch | None:
    """The stretch of the imagery that was made before; None where there is none."""
    if not beside.exists:
        return None
    recipe, _ = read_frozen(beside, beside.read_state())
    options = ImageryOptions.model_validate(recipe.steps[_STEP].options)
    return options.low, options.high


def sampled_stretch(plan: RunPlan, made: Recipe) -> Stretch:
    """What becomes black and white in a run's imagery, from a sample of it.

    Reflectances are drawn from 0 to 0.3, alike in all bands so that grey stays grey; up to their
    98th percentile where that is brighter, at most 0.6. Other values, such as digital numbers, are
    drawn from the second to the 98th percentile of each band. It is one stretch for all tiles and
    periods, so that they join without seams.

    The sample are up to 8 boxes over the area, of periods in turn, in pixels four times as wide as
    those of the imagery; items are those that the run froze.

    Parameters
    ----------
    plan : RunPlan
        Of the run that the imagery belongs to.
    made : Recipe
        Of the imagery.

    Returns
    -------
    (low, high)
        A number each, or three; with three digits. That of reflectances where nothing was seen,
        which is told.
    """
    sample = without_fill(_sample(plan, made))
    usual = ImageryOptions()
    if not sample.size:
        _log.warning(
            "nothing was seen in the samples of the imagery; it is drawn from %s to %s: give "
            "another range with --stretch LOW HIGH", _text(usual.low), _text(usual.high),
        )  # fmt: skip
        return usual.low, usual.high
    lows, highs = np.percentile(sample, _PERCENTILES, axis=1)
    if _REFLECTANCE[0] <= lows.min() and highs.max() <= _REFLECTANCE[1]:
        return 0.0, min(max(0.3, _rounded(highs.max())), _WHITEST)
    highs = np.where(lows < highs, highs, lows + 1)  # a band of one value
    return tuple(map(_rounded, lows)), tuple(map(_rounded, highs))  # type: ignore[return-value]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _sample(plan: RunPlan, made: Recipe) -> npt.NDArray[np.float32]:
    """Values ``(band, pixel)`` of pixels of the area that all three bands have."""
    ((name, source),) = made.inputs.items()
    own = {_input_name(other): other for other in plan.recipe.inputs}
    bands = list(ImageryOptions.model_validate(made.steps[_STEP].options).bands)
    grid = made.grid.build().at_level(_COARSER)
    read = InputSource(name, made, grid, lambda _: plan.setup.lookups(own[name]))
    resources = Resources(NumericProfile("cpu", 1))
    boxes = list(_boxes(plan.setup.shape, grid.box(plan.area), grid))
    count = max(len(boxes), min(len(made.periods), _MOST_BOXES))
    seen: list[npt.NDArray[np.float32]] = []
    with progress("stretch", count, "samples") as bar:
        for number in range(count):
            box, period = boxes[number % len(boxes)], made.periods[number % len(made.periods)]
            composite = read.read(box, TileKey(_STEP, str(period), 0, 0), resources)
            image = composite["composite"].isel(time=middle_window(source, period))
            (part,) = in_memory([image.sel(band=bands)], None, resources.meter)
            where = area_mask(plan.setup.shape, grid, box) & np.isfinite(part.values).all(axis=0)
            seen.append(part.values[:, where])
            bar.advance()
    return np.concatenate(seen, axis=1)


def _boxes(shape: shapely.Geometry, extent: PixelBox, grid: Grid) -> Iterator[PixelBox]:
    """Boxes of a lattice that share some of the area, evenly spread over it."""
    rows, cols = (
        np.unique(np.linspace(first // _SIDE, (last - 1) // _SIDE, 64).round().astype(int))
        for first, last in ((extent.row0, extent.row1), (extent.col0, extent.col1))
    )
    corners = [(row * _SIDE, col * _SIDE) for row in rows.tolist() for col in cols.tolist()]
    boxes = [PixelBox(row, col, row + _SIDE, col + _SIDE) for row, col in corners]
    inside = [box & extent for box in boxes if grid.overlaps(shape, box & extent)]
    chosen = np.unique(np.linspace(0, len(inside) - 1, min(len(inside), _MOST_BOXES)).round())
    yield from (inside[int(number)] for number in chosen)


def _natural_of_items(folder: RunFolder, recipe: Recipe) -> dict[str, tuple[str, str, str]]:
    """Red, green and blue of inputs, as their first frozen item describes them."""
    natural = {}
    for name, source in recipe.inputs.items():
        file = f"items/{name}.parquet"
        if natural_colours(source.bands) or not folder.storage.exists(file):
            continue
        first = next(iter(read_geoparquet(folder.storage.read(file), file)), None)
        if first is None:
            continue
        named = [{b: source.names[b]} if b in source.names else b for b in source.bands]
        if bands := natural_colours_of(to_items([first])[0], named):
            natural[name] = bands
    return natural


def _input_name(name: str) -> str:
    """Of an input in the recipe of the imagery, where no input may be named like a step.

    Nor as a part of one, which begins with its name.
    """
    return f"input-{name}" if name == _STEP or name.startswith(f"{_STEP}-") else name


def imagery_recipe(
    recipe: Recipe,
    area: str,
    extent: Any,
    by_items: Mapping[str, tuple[str, str, str]] | None = None,
) -> dict[str, Any]:
    """The recipe of the imagery: one input with three bands, a composite, its overviews.

    ``by_items`` has red, green and blue of inputs whose names of bands do not say them.
    """
    natural = {
        n: bands
        for n, source in recipe.inputs.items()
        if (bands := natural_colours(source.bands) or (by_items or {}).get(n))
    }
    name = next(iter(natural), None)
    if name is None:
        there = {n: list(source.bands) for n, source in recipe.inputs.items()}
        raise RecipeError(
            f"imagery needs an input with the bands red, green and blue; there are {there}: add a "
            "step {kind: imagery, of: INPUT, bands: [nir, red, green]} to the recipe instead"
        )
    row0, col0, row1, col1 = extent
    pixels = (row1 - row0) * (col1 - col0) * len(recipe.periods)
    zoom = 1
    while pixels / zoom**2 > _MOST:
        zoom *= 2
    imagery = recipe.inputs[name].model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    mask = recipe.inputs[name].mask
    # A pixel that is nodata in one band is left out in all: bands that are told by are read, too.
    told_by = [band for band in imagery.get("nodata", ()) if band in recipe.inputs[name].bands]
    read = list(dict.fromkeys([*natural[name], *told_by]))
    kept = {*read, *(mask.bands if mask else ())}
    for key in ("names", "resampling", "nodata"):  # by band, of bands that are there
        if key in imagery:
            imagery[key] = {band: value for band, value in imagery[key].items() if band in kept}
    grid = recipe.grid.model_dump(mode="json", exclude_defaults=True)
    source = _input_name(name)
    return {
        "name": f"{recipe.name}-imagery",
        "area": area,
        "grid": {**grid, "resolution": recipe.grid.resolution * zoom},
        "periods": list(recipe.periods),
        "inputs": {source: {**imagery, "bands": read}},
        "steps": {
            _STEP: {"kind": "imagery", "of": source, "bands": list(natural[name])},
            _OVERVIEWS: {"kind": "overviews", "of": _STEP},
        },
    }
