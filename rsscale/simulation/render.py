"""Render scenes block by block and write them as cloud-optimised GeoTIFFs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from rsscale.simulation.atmosphere import CLOUDY, classify, observe, sky
from rsscale.simulation.scenes import Scene, Swath
from rsscale.simulation.spectra import BANDS, reflect, signatures
from rsscale.simulation.tiles import BLOCK, TileGrid
from rsscale.simulation.world import Ground, World

NODATA = 0
_NOISE = 0.0009
_TEMPORARY = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
_MARGIN = 1


@dataclass(frozen=True)
class Rendered:
    """Shares of a rendered scene, in percent."""

    cloud_cover: float
    nodata: float


@dataclass(frozen=True)
class GroundCache:
    """Cache of a tile's ground on disk, a file for each block, used by every scene."""

    folder: Path
    world: World
    tile: TileGrid

    def prepare(self, window: Window) -> None:
        """Evaluate the ground of a block, with one pixel around it."""
        ground = self.world.evaluate(*self.tile.world_xy(_grown(window)))
        arrays: dict[str, npt.NDArray[Any]] = {
            "texture": ground.texture,
            "track": ground.track,
            "hedge": ground.hedge,
        }
        for year in self.world.years:
            arrays[f"cover{year}"] = ground.landcover[year]
            arrays[f"kind{year}"] = ground.kind[year]
        np.savez(self._path(window), allow_pickle=False, **arrays)

    def read(self, window: Window, year: int) -> Ground:
        """The ground of a block in one year."""
        with np.load(self._path(window)) as stored:
            return Ground(
                {year: stored[f"cover{year}"]}, {year: stored[f"kind{year}"]},
                stored["texture"], stored["track"], stored["hedge"],
            )  # fmt: skip

    def _path(self, window: Window) -> Path:
        return self.folder / f"{self.tile.name}_{window.row_off}_{window.col_off}.npz"


def _grown(window: Window) -> Window:
    return Window(
        window.col_off - _MARGIN, window.row_off - _MARGIN,
        window.width + 2 * _MARGIN, window.height + 2 * _MARGIN,
    )  # fmt: skip


def render(scene: Scene, cache: GroundCache, extent: float, folder: Path) -> Rendered:
    """Write the seven files of a scene into a folder.

    Parameters
    ----------
    scene : Scene
    cache : GroundCache
        Prepared for every block of the scene's tile.
    extent : float
        Half the width of the archive, metres.
    folder : Path
        Made here; files are named ``<band>.tif``.

    Returns
    -------
    Rendered
        True cloud cover of the valid pixels, and the share of nodata.
    """
    folder.mkdir(parents=True)
    table = signatures(cache.world.seed, scene.year, scene.doy)
    profile = grid_profile(scene.tile)
    cloudy = valid = 0
    with ExitStack() as stack:
        files = {
            band: stack.enter_context(
                cog_writer(
                    folder / f"{band}.tif", **profile, nodata=NODATA,
                    dtype="uint8" if band == "scl" else "uint16",
                    resampling="nearest" if band == "scl" else "average",
                )
            )
            for band in (*BANDS, "scl")
        }  # fmt: skip
        for window in scene.tile.blocks():
            bands, clouds, seen = _block(scene, cache, extent, table, window)
            for band, values in bands.items():
                files[band].write(values, 1, window=window)
            cloudy += int((clouds & seen).sum())
            valid += int(seen.sum())
    total = scene.tile.height * scene.tile.width
    return Rendered(
        round(100.0 * cloudy / max(valid, 1), 2), round(100.0 * (total - valid) / total, 2)
    )


def _block(
    scene: Scene, cache: GroundCache, extent: float, table: npt.NDArray[np.float32], window: Window
) -> tuple[Mapping[str, npt.NDArray[Any]], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Stored numbers of one block, its true cloud mask, and where it lies in the swath."""
    ground = cache.read(window, scene.year)
    surface = reflect(ground, scene.year, table, scene.doy)
    above = sky(scene.weather, scene.tile, window, extent)
    light = observe(surface, above, scene.weather)
    seed = (cache.world.seed, scene.number, int(window.row_off), int(window.col_off))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    light += np.float32(_NOISE) * rng.standard_normal(light.shape, np.float32)
    codes = classify(light, above, scene.weather, *scene.tile.world_xy(window))
    numbers = np.rint(light * np.float32(10000)) + np.float32(scene.processing.added)
    numbers = np.clip(numbers, 1, 65535).astype(np.uint16)
    seen = _seen(scene.swath, scene.tile, window)
    numbers[:, ~seen] = NODATA
    codes[~seen] = NODATA
    stored = {**dict(zip(BANDS, numbers, strict=True)), "scl": codes}
    return stored, above.cloud > CLOUDY, seen


def _seen(swath: Swath | None, tile: TileGrid, window: Window) -> npt.NDArray[np.bool_]:
    if swath is None:
        return np.ones((window.height, window.width), bool)
    rows = (np.arange(window.row_off, window.row_off + window.height) + 0.5) / tile.height
    cols = (np.arange(window.col_off, window.col_off + window.width) + 0.5) / tile.width
    left: npt.NDArray[np.bool_] = cols < swath.x - swath.slope * rows[:, None]
    return left if swath.keep_left else ~left


def grid_profile(tile: TileGrid) -> dict[str, Any]:
    """Size, CRS and transform of a raster, for rasterio."""
    return {
        "height": tile.height,
        "width": tile.width,
        "crs": tile.crs,
        "transform": tile.transform,
    }


@contextmanager
def cog_writer(path: Path, *, resampling: str, **profile: Any) -> Iterator[Any]:
    """Open a dataset to write blocks to; it becomes a COG at the end of the ``with`` block.

    GDAL's COG driver only copies whole files, so the blocks go to a temporary one first;
    neither is ever in memory as a whole.
    """
    temporary = path.with_suffix(".blocks")
    with rasterio.open(temporary, "w", count=1, **_TEMPORARY, **profile) as target:
        yield target
    rasterio.shutil.copy(
        temporary, path, driver="COG", COMPRESS="DEFLATE", PREDICTOR="2", LEVEL="1",
        BLOCKSIZE=str(BLOCK), OVERVIEW_RESAMPLING=resampling, BIGTIFF="IF_SAFER",
    )  # fmt: skip
    Path(temporary).unlink()
