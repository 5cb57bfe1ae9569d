"""The step ``sample`` of a recipe: it counts strata, plans a sample, and draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from rsscale.area_passes.class_layer import class_layer, names_of
from rsscale.errors import RecipeError
from rsscale.geo.ground import scale_of
from rsscale.geo.pixel_area import units_per_hectare
from rsscale.layers import NODATA
from rsscale.recipe import Recipe, Reference, StepRecipe
from rsscale.reference.class_raster import RasterOnGrid
from rsscale.reference.zones import Zones, read_zones
from rsscale.sample_passes.counting_pass import (
    CodeTotals,
    CountingPass,
    count_schema,
    total_schema,
)
from rsscale.sample_passes.drawing_pass import (
    CELLS,
    CellPlan,
    DrawingPass,
    Drawn,
    cell_schema,
    drawn_schema,
    pixel_schema,
)
from rsscale.sample_passes.population import Population, refuse_overlaps
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Setup, Source, Step
from rsscale.steps.options import Options

_CHANGES = ("transition", "change")


class SampleStep(CountingPass):
    """``{kind: sample, of: STEP, …}``: see :class:`SampleOptions`.

    Five steps: ``NAME-tiles`` counts, ``NAME-strata`` sums, ``NAME-cells`` plans, ``NAME-pixels``
    finds, and ``NAME`` has the rows of the sample.
    """

    kind: ClassVar[str] = "sample"
    Options: ClassVar[type[Options]] = SampleOptions

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The files of regions and of a raster, where there are some."""
        files = []
        for name in ("regions", "raster"):
            if given := getattr(options, name):
                path = Path(recipe.path(given))
                if not path.is_file():
                    raise RecipeError(f"there is no file of {name} at {path}")
                files.append(Attachment(name, (path,)))
        return files

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The passes and gathers, in the order in which they are computed."""
        reference = recipe.only_reference("step whose map is sampled")
        span, sources, population = _population(step, options, setup, reference)
        options = options.model_copy(update={"lattice": _lattice(options, setup)})
        given: dict[str, Any] = {
            "population": population,
            "span": span,
            "files": tuple(
                setup.attachment(step, name).digest
                for name in ("regions", "raster")
                if getattr(options, name)
            ),
            "lattice": options.lattice if options.design == "two-stage" else None,
        }
        units = units_per_hectare(setup.grid)
        tiles = cls(step=f"{step}-tiles", sources=sources, schema=count_schema(), **given)
        totals = CodeTotals(
            step=f"{step}-strata", of=tiles.step, schema=total_schema(), units=units
        )
        if options.count_only:
            return [tiles, totals]
        cells = CellPlan(
            step=f"{step}-cells", of=tiles.step, schema=cell_schema(),
            population=population, options=options, units=units,
        )  # fmt: skip
        pixels = DrawingPass(
            step=f"{step}-pixels",
            sources={**sources, CELLS: setup.gathered(cells)},
            schema=pixel_schema(),
            options=options,
            **given,
        )
        drawn = Drawn(
            step=step, of=pixels.step, schema=drawn_schema(),
            is_systematic=options.design == "systematic",
        )  # fmt: skip
        return [tiles, totals, cells, pixels, drawn]


def _population(
    step: str, options: SampleOptions, setup: Setup, reference: Reference
) -> tuple[str, dict[str, Source], Population]:
    """Span, sources and population."""
    layers = {layer.name: layer for layer in setup.layers(reference)}
    spans = setup.spans(reference)
    pair = {"from", "to"} <= layers.keys()
    by_change = set(options.strata) & set(_CHANGES)
    if pair and (by_change or options.layer not in layers):
        span = _span_of_change(options, spans)
        sources = {"change": setup.source(reference, ("from", "to"), at=span)}
        name = "to"
        places: tuple[tuple[str, str], ...] = (("change", "from"), ("change", name))
    else:
        periods = _periods(options, spans)
        name = options.layer
        if len(periods) == 1 and by_change:
            raise RecipeError(
                f"strata by {by_change.pop()} need two periods: periods: [2023, 2024] "
                "(--period 2023 --period 2024), or a step of change (--step change); the step has "
                f"{', '.join(spans)}"
            )
        ends = ("before", "after") if len(periods) == 2 else ("map",)
        class_layer(name, setup, reference, "sample")
        sources = {
            end: setup.source(reference, (name,), at=period)
            for end, period in zip(ends, periods, strict=True)
        }
        places, span = tuple((end, name) for end in ends), "-".join(periods)
    layer = class_layer(name, setup, reference, "sample")
    if len(places) == 2 and (layer.dtype != "uint8" or layer.nodata != NODATA):
        raise RecipeError(
            f"layer {name!r} is {layer.dtype}; classes of two periods are uint8 with nodata 255"
        )
    population = Population(
        places=places,
        layer=layer,
        names=names_of(layer),
        regions=_regions(step, options, setup),
        raster=_raster(step, options, setup),
        raster_names={int(value): name for value, name in options.raster_names.items()},
    )
    return span, sources, population


def _span_of_change(options: SampleOptions, spans: tuple[str, ...]) -> str:
    wanted = "-".join(map(str, options.periods)) or spans[-1]
    if wanted not in spans:
        raise RecipeError(f"the step of change has {', '.join(spans)}, not {wanted}")
    return wanted


def _periods(options: SampleOptions, spans: tuple[str, ...]) -> list[str]:
    """The spans to read: those that are asked for, or the last one."""
    periods = [str(period) for period in options.periods] or [spans[-1]]
    if periods[0] not in spans and "-".join(periods) in spans:
        return ["-".join(periods)]
    for period in periods:
        if period not in spans:
            raise RecipeError(f"the step has no map of {period}; it has {', '.join(spans)}")
    return periods


def _regions(step: str, options: SampleOptions, setup: Setup) -> Zones | None:
    if options.regions is None or options.id is None:
        return None
    path = setup.attachment(step, "regions").folder / Path(options.regions).name
    regions = read_zones(path, options.id, setup.grid, options.regions_layer)
    if not regions.near(setup.extent()):
        raise RecipeError(regions.far_away)
    refuse_overlaps(regions, path.name, setup.grid.resolution**2)
    return regions


def _raster(step: str, options: SampleOptions, setup: Setup) -> RasterOnGrid | None:
    if options.raster is None:
        return None
    path = setup.attachment(step, "raster").folder / Path(options.raster).name
    codes = {int(code): value for code, value in options.raster_codes.items()}
    return RasterOnGrid(path, setup.grid, codes or None)


def _lattice(options: SampleOptions, setup: Setup) -> tuple[int, int] | None:
    """Rows and columns of pixels of a spacing or a primary unit, by metres on the ground."""
    metres = options.spacing if options.design == "systematic" else options.block
    if options.lattice is not None or metres is None:
        return options.lattice
    scale = scale_of(setup.grid.geobox_of(setup.extent()))
    return scale.pixels(metres, setup.grid.resolution)
