"""Class images for polygons, cut into boxes in any way, and whole-image references."""

from __future__ import annotations

import numpy as np
import shapely
from rasterio import features
from scipy import ndimage

from rsscale.geo.lattice import PixelBox
from rsscale.polygons.cell import ClassImage
from rsscale.polygons.image import box_around, image_parts
from rsscale.polygons.parts import Parts
from rsscale.polygons.rules import PolygonRules

NODATA = 255
PLACE = (-333, 77)  # of the first pixel on the grid: off all cells


def smooth_classes(size: int, *, scale: float = 2.0, seed: int = 0) -> np.ndarray:
    """Classes 1 to 4 in smooth shapes, holes of other classes and of nodata among them."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=(size, size)), scale)
    classes = np.digitize(field, np.quantile(field, [0.25, 0.5, 0.75])).astype(np.uint8) + 1
    gone = ndimage.gaussian_filter(random.normal(size=(size, size)), scale)
    classes[gone > np.quantile(gone, 0.9)] = NODATA
    return classes


def box_of(classes: np.ndarray, place: tuple[int, int] = PLACE) -> PixelBox:
    height, width = classes.shape
    return PixelBox(*place, place[0] + height, place[1] + width)


def parts_in(
    classes: np.ndarray, core: PixelBox, rules: PolygonRules, place: tuple[int, int] = PLACE
) -> Parts:
    """The parts of a box of an image, and nothing beyond it; pixels have 100 units of 1 m²."""
    whole, around = box_of(classes, place), box_around(core, rules)
    values = np.full(around.shape, NODATA, np.uint8)
    seen = whole & around
    if not seen.empty:
        values[seen.slices(around)] = classes[seen.slices(whole)]
    units = np.full((1, 1), 100, np.int64)
    return image_parts(ClassImage(values, values != NODATA, units, 1.0, around), core, rules)


def cut_and_joined(classes: np.ndarray, tile: int, rules: PolygonRules) -> Parts:
    """The polygons of an image by way of tiles."""
    box = box_of(classes)
    tiles = [parts_in(classes, tile_box & box, rules) for tile_box in box.blocks(tile)]
    return Parts.together(tiles).joined()


def assert_same(found: Parts, wanted: Parts) -> None:
    for name in ("place", "value", "units", "cut", "pieces"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
    assert [*shapely.to_wkb(found.geometry)] == [*shapely.to_wkb(wanted.geometry)]
    assert not len(found.contacts)


def whole_image(classes: np.ndarray) -> list[tuple[bytes, int]]:
    """What rasterio makes of the image at once: shapes without needless vertices, and classes."""
    row, col = PLACE
    found = features.shapes(classes, mask=classes != NODATA, connectivity=4)
    shapes, values = zip(*found, strict=True)
    polygons = np.array([shapely.geometry.shape(shape) for shape in shapes], object)
    moved = shapely.transform(polygons, lambda xy: xy + np.array([col, row]))
    return sorted(zip(plain(moved), [int(value) for value in values], strict=True))


def plain(geometry: np.ndarray) -> list[bytes]:
    """Shapes without vertices on straight lines, in one order, to compare them exactly."""
    return [*shapely.to_wkb(shapely.normalize(shapely.simplify(geometry, 0)))]
