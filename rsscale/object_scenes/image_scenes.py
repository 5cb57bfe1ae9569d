"""Scenes of images in memory: their pixels, and their objects in pixels of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 -- gives arrays their .odc
import shapely
import xarray as xr
from affine import Affine

from rsscale.errors import RecipeError
from rsscale.geo.grid import crs_name
from rsscale.geo.sample_groups import MOST_POINTS, GroupShapes, some_of
from rsscale.legend.classes import LandClass
from rsscale.object_scenes.object_table import ObjectTable, object_table
from rsscale.object_scenes.scenes import (
    OUTSIDE,
    BlockPlaces,
    ObjectScenes,
    Scene,
    scene_objects,
)
from rsscale.reference.unused_labels import Reason, UnusedLabels

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox

_PLACES = 5  # along the smaller side of the smallest image
_LEAST_PLACE = 32
_STRIP = 512


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image in memory: :class:`rsscale.learners.chips.Images` of one.

    Attributes
    ----------
    pixels : array (C, H, W)
        Of any type.
    bands : tuple of str
    nodata : float or None
        What was not seen, beside NaN.
    geobox : GeoBox or None
        Where it lies; None for a photograph.
    """

    pixels: npt.NDArray[Any]
    bands: tuple[str, ...]
    nodata: float | None
    geobox: GeoBox | None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(1, C, H, W)``."""
        return (1, *self.pixels.shape)

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        _, *rest = key if isinstance(key, tuple) else (key,)
        part = self.pixels[tuple(rest)]
        values: npt.NDArray[np.float32] = part.astype(np.float32)
        if self.nodata is not None:
            values[part == self.nodata] = np.nan
        return values


@dataclass(frozen=True, eq=False)
class ImageObjects:
    """An image, the table of its objects, and its name in messages."""

    image: LoadedImage
    frame: gpd.GeoDataFrame
    name: str


def read_image(array: xr.DataArray) -> LoadedImage:
    """Take an image ``(band, y, x)`` or ``(y, x)`` into memory.

    Raises
    ------
    RecipeError
        When it has other axes, or rows that run north.
    """
    names = [str(dim) for dim in array.dims]
    if len(names) not in (2, 3):
        raise RecipeError(f"an image has the axes {names}; expected (band, y, x) or (y, x)")
    if len(names) == 2:
        array = array.expand_dims("band")
    band = str(array.dims[0])
    coords = array[band].values if band in array.coords else np.arange(array.sizes[band]) + 1
    nodata = array.attrs.get(
        "nodata", array.attrs.get("_FillValue", array.encoding.get("_FillValue"))
    )
    geobox = array.odc.geobox
    if geobox is not None and geobox.crs is None:
        geobox = None
    if geobox is not None and (geobox.affine.e > 0 or geobox.affine.b or geobox.affine.d):
        raise RecipeError(
            "an image is not north up; turn it: rows run south, columns east (sortby('y', "
            "ascending=False))"
        )
    values = np.asarray(array.values)
    known = None if nodata is None or np.isnan(float(nodata)) else float(nodata)
    return LoadedImage(values, tuple(map(str, coords)), known, geobox)


def image_scenes(
    pairs: Sequence[ImageObjects],
    column: str | None,
    classes: Sequence[LandClass] | None,
    within: gpd.GeoDataFrame | None,
    block: int | None,
) -> tuple[ObjectScenes, tuple[LandClass, ...]]:
    """Scenes of images, and the classes of their objects.

    Parameters
    ----------
    pairs : sequence of ImageObjects
    column : str, optional
    classes : sequence of LandClass, optional
    within : GeoDataFrame, optional
        Where every object is labelled.
    block : int, optional
        Width of a place, px.

    Raises
    ------
    RecipeError
    """
    crs_of = [p.image.geobox.crs if p.image.geobox is not None else None for p in pairs]
    table, image_of = _table(pairs, crs_of, column, classes)
    width = block or max(min(min(p.image.pixels.shape[1:]) for p in pairs) // _PLACES, _LEAST_PLACE)
    scenes: list[Scene] = []
    shapes: dict[int, shapely.Geometry] = {}
    lost, first = UnusedLabels(), 0
    for number, pair in enumerate(pairs):
        own = table.take(image_of == number)
        places = _places(pair.image, within, width, first)
        scene = _scene(pair.image, own, places)
        lost += _outside(own, scene, pair)
        shapes |= {n: _on_ground(shapely.box(*b), pair.image) for n, b in places.boxes().items()}
        first += places.count
        scenes.append(scene)
    # Of images in several CRSs there is no common map.
    is_one = len({str(crs) for crs in crs_of}) == 1
    where = GroupShapes(
        f"blocks of {width} px",
        str(crs_of[0]) if is_one and crs_of[0] is not None else "",
        shapes,
        *_points(table, image_of, pairs),
    )
    return ObjectScenes(tuple(scenes), table.unused + lost, table.notes, where), table.legend


def _table(
    pairs: Sequence[ImageObjects],
    crs_of: Sequence[Any],
    column: str | None,
    classes: Sequence[LandClass] | None,
) -> tuple[ObjectTable, npt.NDArray[np.int64]]:
    """The objects of all images, in pixels of each, and the image of each."""
    import geopandas as gpd
    import pandas as pd

    frames = []
    for number, (pair, crs) in enumerate(zip(pairs, crs_of, strict=True)):
        frame = _in_crs_of(pair, crs)
        shapes = _in_pixels(np.asarray(frame.geometry.to_numpy(), object), pair.image)
        plain = pd.DataFrame(frame.drop(columns=frame.geometry.name)).reset_index(drop=True)
        frames.append(gpd.GeoDataFrame(plain.assign(_image=number), geometry=shapes))
    together = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), geometry="geometry")
    table = object_table(together, column, "objects", legend=classes)
    return table, together["_image"].to_numpy(np.int64)[table.rows]


def _in_crs_of(pair: ImageObjects, crs: Any) -> gpd.GeoDataFrame:
    """Objects in the CRS of their image; both or neither has one."""
    frame = pair.frame
    if crs is None and frame.crs is not None:
        raise RecipeError(
            f"{pair.name} has no CRS, and its objects are in {crs_name(frame.crs)}; give both one, "
            "or objects in pixels of the image without a CRS"
        )
    if crs is not None and frame.crs is None:
        raise RecipeError(
            f"the objects of {pair.name} have no CRS, and the image is in {crs_name(crs)}; set it "
            "with objects.set_crs, or leave the image's out where objects are in its pixels"
        )
    return frame if crs is None else frame.to_crs(crs)


def _in_pixels(shapes: npt.NDArray[np.object_], image: LoadedImage) -> npt.NDArray[np.object_]:
    if image.geobox is None:
        return shapes
    back = ~image.geobox.affine

    def moved(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack(back @ (points[:, 0], points[:, 1]), axis=1)

    return np.asarray(shapely.transform(shapely.force_2d(shapes), moved), object)


def _on_ground(shape: shapely.Geometry, image: LoadedImage) -> shapely.Geometry:
    """A shape in pixels in the coordinates of the image; below zero where it has none: y is up."""
    affine = Affine.scale(1, -1) if image.geobox is None else image.geobox.affine
    return shapely.transform(
        shape, lambda points: np.stack(affine @ (points[:, 0], points[:, 1]), axis=1)
    )


def _places(
    image: LoadedImage, within: gpd.GeoDataFrame | None, width: int, first: int
) -> BlockPlaces:
    """Blocks of an image, and where every object is labelled."""
    rows, cols = image.pixels.shape[1:]
    if within is None:
        return BlockPlaces(width, (rows, cols), first)
    crs = None if image.geobox is None else image.geobox.crs
    if (crs is None) != (within.crs is None):
        raise RecipeError(
            "of 'within' and the images only one has a CRS; give both one, or 'within' in pixels"
        )
    frame = within if crs is None else within.to_crs(crs)
    shape = shapely.union_all(_in_pixels(np.asarray(frame.geometry.to_numpy(), object), image))
    shapely.prepare(shape)
    labelled = np.zeros((rows, cols), bool)
    for start in range(0, rows, _STRIP):
        middle = np.arange(start, min(start + _STRIP, rows)) + 0.5
        labelled[start : start + _STRIP] = shapely.contains_xy(
            shape, np.arange(cols) + 0.5, middle[:, None]
        )
    if not labelled.any():
        raise RecipeError("no pixel of the image lies in 'within'; are both of the same ground?")
    return BlockPlaces(width, (rows, cols), first, labelled)


def _scene(image: LoadedImage, objects: ObjectTable, places: BlockPlaces) -> Scene:
    rows, cols = image.pixels.shape[1:]
    return Scene(
        image,
        0,
        (rows, cols),
        places,
        *scene_objects(objects.shapes, objects.classes, objects.rows),
    )


def _outside(objects: ObjectTable, scene: Scene, pair: ImageObjects) -> UnusedLabels:
    """Objects that have their centre outside the image, or where not all are labelled.

    Raises
    ------
    RecipeError
        When all are outside the image.
    """
    bounds, (rows, cols) = scene.bounds, scene.shape
    x, y = bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)
    is_outside = (x < 0) | (y < 0) | (x >= cols) | (y >= rows)
    if len(objects) and is_outside.all():
        extent = [round(float(v), 1) for v in shapely.total_bounds(objects.shapes)]
        raise RecipeError(
            f"all {len(objects):,} objects lie outside {pair.name}: in its pixels they span "
            f"x {extent[0]} to {extent[2]} and y {extent[1]} to {extent[3]}, and it has {cols} x "
            f"{rows}; check the CRS of both, and whether x and y are swapped"
        )
    names = np.array(objects.names(), object)
    is_unlabelled = (scene.places_of_objects == OUTSIDE) & ~is_outside
    return UnusedLabels.of(names[is_outside], Reason.OUTSIDE_IMAGERY) + UnusedLabels.of(
        names[is_unlabelled], Reason.OUTSIDE_WITHIN
    )


def _points(
    table: ObjectTable, image_of: npt.NDArray[np.int64], pairs: Sequence[ImageObjects]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Centres of some objects on the ground, and their class values."""
    chosen = some_of(len(table), MOST_POINTS)
    points = [
        _on_ground(shapely.box(*shapely.bounds(table.shapes[k])).centroid, pairs[image_of[k]].image)
        for k in chosen.tolist()
    ]
    values = np.array([table.legend[k].value for k in table.classes[chosen].tolist()])
    return shapely.get_coordinates(points), values
