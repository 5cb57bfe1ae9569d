"""What every contender is given: where the data lie, how large they are, and how to cut them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

EPSG, RESOLUTION = 32632, 10
BANDS = ("blue", "green", "red", "nir")
DATES, PERIOD = 3, 2023
SCENE = 4096
"""Pixels across the largest scene; the area's corner lies on a multiple of it."""
COL0, ROW0 = 10 * SCENE, -125 * SCENE
STRIDE, HALO, CLASSES = 1024, 64, 5
MEAN, STD = 3000.0, 1500.0
NODATA = 255


@dataclass(frozen=True)
class Case:
    """One map to make.

    Attributes
    ----------
    folder : str
        The scratch folder: scenes, catalogues, models, the reference.
    rows, cols : int
        Scenes down and across.
    scene : int
        Pixels across a scene.
    model : str
        ``"two-layer"`` or ``"unet"``.
    threads : int
        Cores that a contender may use.
    """

    folder: str
    rows: int
    cols: int
    scene: int
    model: str
    threads: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map, px."""
        return self.rows * self.scene, self.cols * self.scene

    @property
    def pixels(self) -> int:
        """Of the map."""
        return self.shape[0] * self.shape[1]

    @property
    def path(self) -> Path:
        """The scratch folder."""
        return Path(self.folder)

    @property
    def catalog(self) -> Path:
        """An item collection, hrefs as contenders read them."""
        return self.path / "items.json"

    @property
    def model_path(self) -> Path:
        """A model folder."""
        return self.path / f"model-{self.model}"

    @property
    def geobox(self) -> GeoBox:
        """The map's pixels."""
        from odc.geo.geobox import GeoBox

        return GeoBox(self.shape, self.transform(), EPSG)

    def transform(self, row: int = 0, col: int = 0) -> Affine:
        """From pixels to metres, of the scene at a row and column of scenes."""
        left = (COL0 + col * self.scene) * RESOLUTION
        top = -(ROW0 + row * self.scene) * RESOLUTION
        return Affine(RESOLUTION, 0, left, 0, -RESOLUTION, top)

    def write(self, path: Path) -> None:
        """Keep it for another process."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Case:
        """What was written."""
        return cls(**json.loads(path.read_text()))

    def recipe(self, tile: int) -> dict[str, Any]:
        """The map as rsscale is asked for it."""
        return {
            "name": f"benchmark-{self.model}",
            "area": str(self.path / "area.gpkg"),
            "grid": {"crs": f"EPSG:{EPSG}", "resolution": RESOLUTION, "tile": tile},
            "periods": [PERIOD],
            "inputs": {
                "s2": {
                    "catalog": str(self.catalog),
                    "bands": list(BANDS),
                    "composite": {"by": "year", "reducer": "median"},
                }
            },
            "model": str(self.model_path),
            "output": {"layers": ["classification"]},
        }
