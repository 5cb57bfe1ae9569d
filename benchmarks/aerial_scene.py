"""A scene as an aircraft sees it, with sheds and trees of known place and outline.

Four bands (red, green, blue, near infrared) of fields with texture, paths as bright as roofs, and
shadows; sheds are turned rectangles with a shadow, trees are round and rough. Objects don't
overlap, keep a distance to the edge of nothing, and are cut by the image's edge where they lie on
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from scipy import ndimage
from shapely import affinity

Floats = npt.NDArray[np.float64]
BANDS = ("red", "green", "blue", "nir")
_MEADOW = np.array([0.10, 0.13, 0.07, 0.38])
_SOIL = np.array([0.22, 0.17, 0.12, 0.26])
_ROOFS = np.array([[0.45, 0.28, 0.22, 0.35], [0.40, 0.41, 0.43, 0.40], [0.60, 0.60, 0.58, 0.55]])
_CROWN = np.array([0.05, 0.08, 0.04, 0.45])
_SHADOW = 0.45
_SUN = np.array([0.8, 0.6])  # where shadows fall, px of an object's height


@dataclass(frozen=True)
class AerialScene:
    """An image, and its objects in pixels of it.

    Attributes
    ----------
    image : DataArray (band, y, x)
        Reflectance times 10,000 as uint16, 0 is nodata.
    objects : GeoDataFrame
        Columns ``kind`` (``shed``, ``tree``) and ``geometry``, outlines in pixels, no CRS.
    """

    image: xr.DataArray
    objects: gpd.GeoDataFrame


def aerial_scene(size: int, seed: int, *, objects: int | None = None) -> AerialScene:
    """Simulate a scene.

    Parameters
    ----------
    size : int
        Width and height, px.
    seed : int
    objects : int, optional
        How many are tried; about one for 3,000 px when left out.
    """
    random = np.random.default_rng(seed)
    image = _ground(size, random)
    placed: list[tuple[str, shapely.Polygon]] = []
    for _ in range(objects or size * size // 3000):
        x, y = random.uniform(-4, size + 4, 2)
        kind = "shed" if random.random() < 0.5 else "tree"
        shape = _shed(x, y, random) if kind == "shed" else _tree(x, y, random)
        near = shape.buffer(3)
        if not any(near.intersects(other) for _, other in placed):
            placed.append((kind, shape))
    for kind, shape in placed:
        height = random.uniform(4, 8)
        fallen = [affinity.translate(shape, *(_SUN * height * part)) for part in (0.3, 0.6, 1)]
        shadow = _burnt(shapely.union_all(fallen), size)
        image *= 1 - (1 - _SHADOW) * ndimage.gaussian_filter(shadow.astype(float), 0.7)
        _draw(image, kind, _burnt(shape, size), random)
    image = ndimage.gaussian_filter(image, (0, 0.6, 0.6))
    image += random.normal(0, 0.006, image.shape)
    frame = shapely.box(0, 0, size, size)
    rows = [(kind, shape.intersection(frame)) for kind, shape in placed]
    rows = [(kind, shape) for kind, shape in rows if shape.area >= 12]
    return AerialScene(
        xr.DataArray(
            np.clip(image * 10000, 1, 65535).astype(np.uint16),
            dims=("band", "y", "x"),
            coords={"band": list(BANDS)},
            attrs={"nodata": 0},
        ),
        gpd.GeoDataFrame({"kind": [kind for kind, _ in rows]}, geometry=[s for _, s in rows]),
    )


def _ground(size: int, random: np.random.Generator) -> Floats:
    """Fields with rough texture and bright paths ``(4, size, size)``."""

    def noise(width: float) -> Floats:
        rough = ndimage.gaussian_filter(random.standard_normal((size, size)), width, mode="wrap")
        return rough / rough.std()

    soil = 1 / (1 + np.exp(-3 * noise(size / 12)))
    image = _MEADOW[:, None, None] * (1 - soil) + _SOIL[:, None, None] * soil
    image = image * (1 + 0.10 * noise(6) + 0.08 * noise(1.5))
    along = np.abs(noise(size / 8)) < 0.02
    path = ndimage.gaussian_filter(along.astype(float), 1.0)
    return np.asarray(image * (1 - path) + 0.42 * path)


def _shed(x: float, y: float, random: np.random.Generator) -> shapely.Polygon:
    width, length = random.uniform(8, 14), random.uniform(14, 30)
    box = shapely.box(x - width / 2, y - length / 2, x + width / 2, y + length / 2)
    return affinity.rotate(box, random.uniform(0, 180))


def _tree(x: float, y: float, random: np.random.Generator) -> shapely.Polygon:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = random.uniform(5, 11) * (1 + 0.12 * random.standard_normal(24))
    return shapely.Polygon(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1))


def _burnt(shape: shapely.Geometry, size: int) -> npt.NDArray[np.bool_]:
    inside = np.zeros((size, size), bool)
    x0, y0, x1, y1 = np.clip(shape.bounds, 0, size)
    cols, rows = np.arange(int(x0), int(np.ceil(x1))), np.arange(int(y0), int(np.ceil(y1)))
    shapely.prepare(shape)
    inside[rows[:, None], cols] = shapely.contains_xy(shape, cols + 0.5, rows[:, None] + 0.5)
    return inside


def _draw(
    image: Floats, kind: str, inside: npt.NDArray[np.bool_], random: np.random.Generator
) -> None:
    count = int(inside.sum())
    if kind == "shed":
        roof = _ROOFS[random.integers(len(_ROOFS))] * random.uniform(0.85, 1.1)
        image[:, inside] = roof[:, None] * (1 + 0.03 * random.standard_normal(count))
    else:
        crown = _CROWN * random.uniform(0.9, 1.3)
        rough = ndimage.gaussian_filter(random.standard_normal(inside.shape), 1.2)
        lit = 1 + 0.5 * rough[inside] / rough.std()
        image[:, inside] = crown[:, None] * np.clip(lit, 0.4, 2.2)
