"""Train the model of a recipe on chips cut from the cube that the map reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from odc.geo.geom import Geometry

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import GroundScale, pixel_width, scale_of
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.stack import InputStack
from rsscale.items.item_index import ItemIndex
from rsscale.layers import NODATA
from rsscale.learn.architectures import registered
from rsscale.learn.checks import check_memory, check_network
from rsscale.learn.models import Model, save_model
from rsscale.learn.train import Chips, InputBands, TrainingReport, train
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import DAYS, ModelInput
from rsscale.model.outputs import EmbeddingOutput
from rsscale.model.spec import ModelSpec
from rsscale.progress import progress
from rsscale.recipe import Recipe, TrainRecipe, read_recipe
from rsscale.reference.labels import GridLabels, Labels, read_labels
from rsscale.runs.find_items import check_reach, find_items, index_items
from rsscale.steps.input_windows import span, window_names
from rsscale.steps.inputs import prepare

# Chips of one such block are read together: a COG block is decoded once, not once a chip.
_READ_TOGETHER = 512
# Pixels around a chip, without labels: a label at its edge is seen in its surroundings too.
_CONTEXT = 32


def train_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> tuple[Model, TrainingReport]:
    """Train what a recipe's ``train`` section asks for and save it as its model.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    out : path, optional
        Folder of the model; the recipe's ``model`` when omitted.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    overrides : sequence of "key.sub=value"

    Returns
    -------
    (Model, TrainingReport)
        The accuracy in the report is on whole spatial blocks that were never trained on.

    Raises
    ------
    RecipeError
        When the recipe has no ``train`` section, its labels are wrong, or an input is a series and
        the network takes none.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    settings = _settings(recipe)
    _check_series(recipe)
    target = Path(out) if out is not None else _model_folder(recipe)
    labels = read_labels(
        settings.labels,
        settings.class_,
        period_column=settings.period_column,
        classes=_classes(settings),
        layer=settings.labels_layer,
        all_touched=settings.all_touched,
        priority=settings.priority,
    )
    lattice, inputs = Lattice(settings.stride, settings.halo, settings.blend), _inputs(recipe)
    check_network(settings.architecture, settings.hyperparameters, inputs, labels.classes, lattice)
    chips = make_chips(recipe, labels)
    model, report = train(
        chips,
        name=recipe.name,
        inputs=inputs,
        classes=labels.classes,
        lattice=lattice,
        resolution=_pixel_width(recipe.grid.build(), labels),
        architecture=settings.architecture,
        hyperparameters=settings.hyperparameters,
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        validation=settings.split.validation,
        conformal=settings.conformal,
        device=None if device == "auto" else device,
    )
    save_model(
        model,
        target,
        geometry=_footprint(labels),
        **_times(settings, recipe),
        **report.properties(),
    )
    return model, report


def _check_series(recipe: Recipe) -> None:
    """Refuse series for a network that can't tell its dates apart."""
    architecture = _settings(recipe).architecture
    if DAYS in registered(architecture).takes:
        return
    for name, imagery in recipe.inputs.items():
        if imagery.series:
            raise RecipeError(
                f"input {name!r} is a series of observations, whose dates differ from place to "
                f"place, and architecture {architecture!r} takes time windows in a fixed order; "
                "give the input a composite, or use tempcnn, ltae, utae or fusion"
            )


def make_chips(recipe: Recipe, labels: Labels) -> Chips:
    """Images and labels of every block that holds a label, of every training period.

    A chip is a block of the global lattice and some context around it; labels count only in
    the block itself, so that no label pixel is in two chips, or in two spatial groups.
    """
    settings, grid = _settings(recipe), recipe.grid.build()
    periods = settings.periods or recipe.periods
    by_period = {period: labels.on(grid, period) for period in periods}
    blocks = {period: some.blocks(settings.chip) for period, some in by_period.items()}
    left_out = _left_out(labels, by_period)
    if not any(blocks.values()):
        advice = "; ".join(left_out) or "check train.periods and train.period_column"
        raise RecipeError(
            f"{settings.labels} has no label for the periods {list(periods)}: {advice}"
        )
    check_memory(
        sum(map(len, blocks.values())),
        sum(input_bands.channels for input_bands in _inputs(recipe)),
        settings.chip + 2 * _CONTEXT,
    )
    rows, cols = _group_size(settings, grid, [b for some in blocks.values() for b in some])
    unseen: Counter[tuple[str, str]] = Counter()
    images, targets, groups = [], [], []
    days: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    with progress("read chips", sum(map(len, blocks.values())), "chips") as bar:
        for period in filter(blocks.get, periods):
            sources = _find_sources(recipe, grid, blocks[period], period)
            for together in _together(blocks[period]):
                for block, image, dates in _read(recipe, grid, sources, period, together):
                    for name, of_chip in dates.items():
                        days[name].append(of_chip)
                    images.append(image)
                    targets.append(_target(by_period[period], block))
                    groups.append(block.row0 // rows * 1_000_003 + block.col0 // cols)
                    reason = _why_unseen(recipe, grid, sources, period, block)
                    unseen.update(_unseen(image, targets[-1], labels, reason))
                    bar.advance()
    left_out += [
        f"{count:,} labelled pixels of {name!r}: {reason}"
        for (name, reason), count in sorted(unseen.items())
    ]
    stacked = {name: np.stack(of_chips) for name, of_chips in days.items()}
    return Chips(np.stack(images), np.stack(targets), np.array(groups), tuple(left_out), stacked)


def _pixel_width(grid: Grid, labels: Labels) -> float:
    """Width of a pixel amid the labels, metres on the ground or degrees."""
    around = grid.box(Geometry(shapely.box(*labels.frame.total_bounds), labels.frame.crs))
    return pixel_width(grid.geobox_of(around))


def _left_out(labels: Labels, by_period: Mapping[int, GridLabels]) -> list[str]:
    """Features without a pixel, and of no training period: how many, of which class, and why."""
    names = {c.value: c.name for c in labels.classes}
    found: Counter[str] = Counter()
    for some in by_period.values():
        found.update(dict.fromkeys(some.left_out(names), 1))
    used = {index for period in by_period for index in labels.of(period).frame.index}
    others = labels.frame[~labels.frame.index.isin(used)]["value"].value_counts().sort_index()
    return [
        *found,
        *(
            f"{count} features of {names[int(value)]!r}: of other years than {list(by_period)}"
            for value, count in others.items()
        ),
    ]


def _group_size(settings: TrainRecipe, grid: Grid, blocks: Sequence[PixelBox]) -> tuple[int, int]:
    """Rows and columns of pixels of a spatial group, by the scale amid the labels."""
    around = reduce(PixelBox.__or__, blocks)
    try:
        scale = scale_of(grid.geobox_of(around))
    except AreaError:  # axes so skewed that no block is square: as the CRS counts
        unit = grid.pixel_width / grid.resolution
        scale = GroundScale(unit, unit)
    rows, cols = scale.pixels(settings.split.blocks, grid.resolution)
    return max(rows, settings.chip), max(cols, settings.chip)


def _unseen(
    image: np.ndarray, target: np.ndarray, labels: Labels, reason: str
) -> dict[tuple[str, str], int]:
    """Labelled pixels of a chip where nothing was seen, by class."""
    blind = target[~np.isfinite(image).any(axis=0)]
    counts = {c.name: int((blind == c.value).sum()) for c in labels.classes}
    return {(name, reason): count for name, count in counts.items() if count}


def _why_unseen(
    recipe: Recipe, grid: Grid, sources: Mapping[str, ItemIndex], period: int, block: PixelBox
) -> str:
    """Why pixels of a block may have no value in any input."""
    around = grid.geobox_of(block)
    if any(
        sources[name].touching(around, *span(one, period)) for name, one in recipe.inputs.items()
    ):
        return "masked, or without a clear observation in any time window"
    return "outside the imagery"


def _find_sources(
    recipe: Recipe, grid: Grid, blocks: Sequence[PixelBox], period: int
) -> dict[str, ItemIndex]:
    """Items around the labels only: a country is not searched for a few polygons."""
    boxes = [grid.geobox_of(block).extent.geom for block in blocks]
    around = Geometry(shapely.union_all(boxes), grid.crs).to_crs("EPSG:4326")
    items = find_items(recipe, around, _CONTEXT + 16, (period,))
    indexes = index_items(recipe, grid, items)
    check_reach(recipe, grid, indexes, [block.pad(_CONTEXT + 16) for block in blocks], (period,))
    return indexes


def _together(blocks: Sequence[PixelBox]) -> Iterator[list[PixelBox]]:
    """Blocks that lie in one larger block of the lattice."""
    groups: dict[tuple[int, int], list[PixelBox]] = defaultdict(list)
    for block in blocks:
        groups[block.row0 // _READ_TOGETHER, block.col0 // _READ_TOGETHER].append(block)
    yield from groups.values()


def _read(
    recipe: Recipe,
    grid: Grid,
    sources: Mapping[str, ItemIndex],
    period: int,
    blocks: Sequence[PixelBox],
) -> Iterator[tuple[PixelBox, np.ndarray, dict[str, np.ndarray]]]:
    """Each block's image with its context, ``(channel, row, col)``, and its days by input.

    As a window of the model is made of composites and series, so is a chip.
    """
    around = reduce(PixelBox.__or__, blocks).pad(_CONTEXT)
    inputs = prepare(recipe, grid, sources, period, around)
    takes = registered(_settings(recipe).architecture).takes
    spec = _as_they_are(_inputs(recipe), tuple(extra for extra in takes if extra == DAYS))
    stack = InputStack(inputs.compute(None), spec, around)
    for block in blocks:
        chip = block.pad(_CONTEXT)
        image, chosen = np.empty((spec.channels, *chip.shape), np.float32), stack.choose(chip)
        stack.fill(image, chip, chosen)
        yield block, image, chosen.days


def _inputs(recipe: Recipe) -> list[InputBands]:
    """The inputs of the model to be, in the recipe's order."""
    settings = _settings(recipe)
    period = (settings.periods or recipe.periods)[0]
    return [
        InputBands(name, imagery.bands, (), settings.observations)
        if imagery.series
        else InputBands(name, imagery.bands, window_names(imagery, period))
        for name, imagery in recipe.inputs.items()
    ]


def _as_they_are(inputs: Sequence[InputBands], takes: tuple[str, ...]) -> ModelSpec:
    """A contract that takes inputs without scaling."""
    return ModelSpec(
        name="chips",
        inputs=tuple(
            ModelInput(i.name, i.bands, i.times, (0.0,) * n, (1.0,) * n, i.series, takes)
            for i in inputs
            for n in [len(i.bands)]
        ),
        classes=(),
        lattice=Lattice(1, 0),
        architecture="none",
        output=EmbeddingOutput(1),
        layout="mapping",
    )


def _target(labels: GridLabels, block: PixelBox) -> np.ndarray:
    """Labels of a chip; its context is unlabelled."""
    chip = block.pad(_CONTEXT)
    target = np.full(chip.shape, NODATA, np.uint8)
    target[block.slices(chip)] = labels.rasterize(block)
    return target


def _settings(recipe: Recipe) -> TrainRecipe:
    if recipe.train is None:
        raise RecipeError(
            f"recipe {recipe.name!r} has no 'train' section; add one with 'labels' and 'class'"
        )
    return recipe.train


def _classes(settings: TrainRecipe) -> tuple[LandClass, ...] | None:
    if settings.classes is None:
        return None
    return tuple(LandClass(c.value, c.name, c.color) for c in settings.classes)


def _model_folder(recipe: Recipe) -> Path:
    if not isinstance(recipe.model, str):
        named = "names a model for each period" if recipe.model else "has no 'model'"
        raise RecipeError(f"the recipe {named}; say with --out where the trained one goes")
    return Path(recipe.model)


def _times(settings: TrainRecipe, recipe: Recipe) -> dict[str, str]:
    """When the training imagery was taken: STAC's properties for a span of time."""
    periods = settings.periods or recipe.periods
    return {
        "start_datetime": f"{min(periods):04d}-01-01T00:00:00Z",
        "end_datetime": f"{max(periods):04d}-12-31T23:59:59Z",
    }


def _footprint(labels: Labels) -> dict[str, Any]:
    box = labels.frame.to_crs("EPSG:4326").total_bounds
    geometry: dict[str, Any] = shapely.geometry.mapping(shapely.box(*box))
    return geometry
