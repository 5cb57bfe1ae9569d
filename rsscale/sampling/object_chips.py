"""Chips of a recipe with the objects in them: what a detector learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError
from rsscale.geo.feature_place import check_area, check_coordinates
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.sample_groups import MOST_POINTS, some_of
from rsscale.geo.vector_file import split_layer
from rsscale.layers import NODATA, Period
from rsscale.legend.classes import LandClass
from rsscale.object_scenes.object_file import PIXELS, read_objects
from rsscale.object_scenes.object_table import ObjectTable, object_table
from rsscale.object_scenes.scenes import OUTSIDE, ObjectScenes, OnePlace, Scene
from rsscale.plans.find_items import recipe_area
from rsscale.recipe import Recipe
from rsscale.reference.class_column import years_in
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.labels import Labels
from rsscale.reference.unused_labels import Reason, UnusedLabels
from rsscale.reference.vector_file import geometry_problem, read_vector_file
from rsscale.sampling.chip_task import DAYS_OF, Arrays
from rsscale.sampling.label_chips import ChipReader, train_settings
from rsscale.sampling.stored_images import StoredImages

if TYPE_CHECKING:
    import geopandas as gpd

LABELLED = LandClass(0, "ground on which every object is labelled", "#ffffff")
_ALWAYS = -1
Years = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RecipeObjects:
    """The objects of a recipe's labels, in pixels of its grid.

    Attributes
    ----------
    table : ObjectTable
        Outlines in global pixels: ``x`` counts columns, ``y`` rows.
    years : int64 array (n,)
        What each is true for; -1 for all periods.
    ground : Labels
        Where every object is labelled, as labels of one class.
    notes : tuple of str
    """

    table: ObjectTable
    years: Years
    ground: Labels
    notes: tuple[str, ...] = field(default=())


def read_recipe_objects(recipe: Recipe) -> RecipeObjects:
    """Read the objects that a recipe's ``train`` section names, and where all are labelled.

    Raises
    ------
    RecipeError
        When a file can't be read, the column of the class is missing, a geometry is neither box
        nor polygon, or no object is in the area.
    """
    settings, grid = train_settings(recipe), recipe.grid.build()
    source = f"labels {settings.labels}"
    frame = read_objects(settings.labels, layer=settings.labels_layer, crs=settings.labels_crs)
    legend = None
    if settings.classes is not None:
        legend = [LandClass(c.value, c.name, c.color) for c in settings.classes]
    years = np.full(len(frame), _ALWAYS, np.int64)
    if settings.period_column is not None:
        if settings.period_column not in frame:
            raise RecipeError(f"{source} have no column {settings.period_column!r} of the period")
        years = np.array(years_in(frame[settings.period_column], source), np.int64)
    if frame.crs is None and settings.labels_crs != PIXELS:
        raise RecipeError(f"{source} have no CRS; save them with one")
    if frame.crs is not None:
        known = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
        check_coordinates(known.bounds.to_numpy(), frame.crs, source)
        if area := recipe_area(recipe):
            check_area(known.bounds.to_numpy(), frame.crs, area, source)
        frame = frame.to_crs(grid.crs)
        frame = frame.set_geometry(_in_pixels(frame.geometry.to_numpy(), grid), crs=None)
    table = object_table(
        frame, settings.class_, source, legend=legend, rules=LabelRules(
            merge=settings.merge, ignore=settings.ignore
        ), years=years,
    )  # fmt: skip
    years = years[table.rows]
    ground, notes = _ground(recipe, grid, table, years)
    return RecipeObjects(table, years, ground, notes)


def object_scenes(
    objects: RecipeObjects, reader: ChipReader, arrays: Arrays, images: StoredImages
) -> ObjectScenes:
    """Chips that were read, as scenes with their objects.

    Parameters
    ----------
    objects : RecipeObjects
    reader : ChipReader
        Of the ground on which all objects are labelled.
    arrays, images
        What it read.
    """
    table, tree = objects.table, shapely.STRtree(objects.table.shapes)
    days = {n.removeprefix(DAYS_OF): d for n, d in arrays.items() if n.startswith(DAYS_OF)}
    scenes, used = [], np.zeros(len(table), bool)
    for number, period in enumerate(reader.periods):
        row, col = (int(v) for v in arrays["origins"][number])
        labelled = arrays["labels"][number] != NODATA
        box = PixelBox(row, col, row + labelled.shape[0], col + labelled.shape[1])
        near = np.sort(tree.query(shapely.box(box.col0, box.row0, box.col1, box.row1)))
        near = near[np.isin(objects.years[near], [_ALWAYS, *_years(period)])]
        scene = Scene(
            images,
            number,
            (labelled.shape[0], labelled.shape[1]),
            OnePlace(int(arrays["groups"][number]), labelled),
            np.asarray(
                shapely.transform(table.shapes[near], lambda xy, at=(col, row): xy - at), object
            ),
            table.classes[near],
            table.rows[near],
            (row, col),
            {name: of_chip[number : number + 1] for name, of_chip in days.items()},
        )
        used[near[scene.places_of_objects != OUTSIDE]] = True
        scenes.append(scene)
    unused = table.unused + _unused(objects, reader, used)
    points, values = _points(table, reader)
    places = replace(reader.places, points=points, labels=values)
    return ObjectScenes(tuple(scenes), unused, (*table.notes, *objects.notes), places)


def _in_pixels(shapes: npt.NDArray[np.object_], grid: Grid) -> npt.NDArray[np.object_]:
    origin, step = np.array(grid.origin), np.array([grid.resolution, -grid.resolution])
    return np.asarray(
        shapely.transform(shapely.force_2d(shapes), lambda xy: (xy - origin) / step), object
    )


def _in_crs(shapes: npt.NDArray[np.object_], grid: Grid) -> npt.NDArray[np.object_]:
    origin, step = np.array(grid.origin), np.array([grid.resolution, -grid.resolution])
    return np.asarray(shapely.transform(shapes, lambda xy: xy * step + origin), object)


def _ground(
    recipe: Recipe, grid: Grid, table: ObjectTable, years: Years
) -> tuple[Labels, tuple[str, ...]]:
    """Where every object is labelled: the polygons that say so, or the chips that hold one."""
    import geopandas as gpd

    settings, area = train_settings(recipe), recipe_area(recipe)
    if settings.within is not None:
        frame = _read_within(settings.within)
        frame = frame[["geometry"]].assign(value=LABELLED.value, period=_ALWAYS)
        return Labels(frame, (LABELLED,), settings.within, area=area), ()
    chip = settings.chip
    bounds = shapely.bounds(table.shapes).reshape(-1, 4)
    cells = np.floor(np.stack([bounds[:, [0, 2]].mean(1), bounds[:, [1, 3]].mean(1)], 1) / chip)
    blocks = np.unique(np.column_stack([cells, years]), axis=0)
    x, y = blocks[:, 0] * chip, blocks[:, 1] * chip
    shapes = _in_crs(np.asarray(shapely.box(x, y, x + chip, y + chip), object), grid)
    frame = gpd.GeoDataFrame(
        {"value": LABELLED.value, "period": blocks[:, 2].astype(np.int64)},
        geometry=shapes,
        crs=str(grid.crs),
    )
    note = (
        f"every object is taken to be labelled in the {len(blocks):,} chips of {chip} px that hold "
        "one: any other there is learnt as background; say with train.within where it is so"
    )
    return Labels(frame, (LABELLED,), settings.labels, area=area), (note,)


def _read_within(path: str) -> gpd.GeoDataFrame:
    file, layer = split_layer(path)
    if not file.exists():
        raise RecipeError(f"there are no polygons at {path}, which train.within names")
    frame = read_vector_file(file, f"polygons {path}", layer)
    problem = geometry_problem(frame)
    if problem or not frame.geom_type.isin(["Polygon", "MultiPolygon"]).all():
        wrong = problem or "some features are points"
        raise RecipeError(
            f"polygons {path}: {wrong}; train.within is where every object is labelled"
        )
    check_coordinates(frame.bounds.to_numpy(), frame.crs, f"polygons {path}")
    return frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame


def _unused(
    objects: RecipeObjects, reader: ChipReader, used: npt.NDArray[np.bool_]
) -> UnusedLabels:
    """Objects whose centre is in no chip, by the first reason that holds."""
    table, periods = objects.table, reader.blocks.keys()
    names = np.array(table.names(), object)
    known = [year for period in periods for year in _years(period)]
    is_other = ~used & ~np.isin(objects.years, [_ALWAYS, *known])
    left = ~used & ~is_other
    is_unseen = np.zeros(len(table), bool)
    bounds = shapely.bounds(table.shapes).reshape(-1, 4)
    centre = np.floor([bounds[:, [1, 3]].mean(axis=1), bounds[:, [0, 2]].mean(axis=1)]).T
    on_ground = [objects.ground.on(reader.grid, period) for period in periods]
    for number in np.flatnonzero(left).tolist():
        row, col = (int(v) for v in centre[number])
        box = PixelBox(row, col, row + 1, col + 1)
        is_unseen[number] = any((some.rasterize(box) != NODATA).any() for some in on_ground)
    return (
        UnusedLabels.of(names[is_other], Reason.OTHER_PERIOD)
        + UnusedLabels.of(names[is_unseen], Reason.MASKED)
        + UnusedLabels.of(names[left & ~is_unseen], _where_not(objects))
    )


def _where_not(objects: RecipeObjects) -> Reason:
    """Why an object is on no labelled ground."""
    is_given = objects.ground.source and len(objects.notes) == 0
    return Reason.OUTSIDE_WITHIN if is_given else Reason.OUTSIDE_AREA


def _points(
    table: ObjectTable, reader: ChipReader
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Centres of some objects in the grid's CRS, and their class values, for a map of the split."""
    chosen = some_of(len(table), MOST_POINTS)
    bounds = shapely.bounds(table.shapes[chosen]).reshape(-1, 4)
    middle = np.stack([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)], axis=1)
    values = np.array([table.legend[k].value for k in table.classes[chosen].tolist()])
    points = shapely.get_coordinates(_in_crs(np.asarray(shapely.points(middle)), reader.grid))
    return points, values


def _years(period: Period) -> Sequence[int]:
    return [period] if isinstance(period, int) else []
