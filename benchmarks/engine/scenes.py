"""Simulated scenes: fields, texture and noise, uint16 GeoTIFFs with DEFLATE and predictor 2.

Blocks are compressed once and repeated at other places of other scenes, so that the country of
hundreds of files is written at the disk's speed, and read with all the decoding that it takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pystac
from odc.geo.geobox import GeoBox

from benchmarks.engine.case import BANDS, DATES, EPSG, PERIOD, RESOLUTION, Case
from benchmarks.engine.tiff import BLOCK, compress, write_tiff


def write_scenes(case: Case) -> None:
    """Files of all scenes, unless an earlier call left them there; and the area."""
    folder = case.path / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done.json"
    extent = [case.rows, case.cols, case.scene]
    if not (done.exists() and json.loads(done.read_text()) == extent):
        done.unlink(missing_ok=True)
        pool = ThreadPoolExecutor(case.threads)  # zlib lets go of the interpreter
        for date in range(DATES):
            for band in range(len(BANDS)):
                blocks = list(pool.map(compress, _blocks(case.scene, date, band)))
                for row, col in np.ndindex(case.rows, case.cols):
                    # Another offset for every scene: no two files are the same.
                    shift = (row * case.cols + col) * 7 % len(blocks)
                    path = folder / _name(row, col, date, band)
                    turned = blocks[shift:] + blocks[:shift]
                    write_tiff(path, case.scene, turned, case.transform(row, col), EPSG)
        done.write_text(json.dumps(extent))
    write_area(case.geobox, case.path)


def write_area(geobox: GeoBox, folder: Path) -> None:
    """The outline of what is to be mapped."""
    import geopandas as gpd
    import shapely

    # Pixels whose centre lies outside are not mapped: the outline runs inside the outer pixels.
    left, bottom, right, top = geobox.boundingbox.bbox
    inset = RESOLUTION / 5
    outline = shapely.box(left + inset, bottom + inset, right - inset, top - inset)
    gpd.GeoDataFrame(geometry=[outline], crs=EPSG).to_file(folder / "area.gpkg")


def write_catalog(case: Case, root: str) -> None:
    """An item a scene and date; ``root`` is the address or folder of the files."""
    items = [
        _item(case, root, row, col, date)
        for date in range(DATES)
        for row, col in np.ndindex(case.rows, case.cols)
    ]
    collection = {"type": "FeatureCollection", "features": [item.to_dict() for item in items]}
    case.catalog.write_text(json.dumps(collection))


def read_items(case: Case) -> list[dict[str, object]]:
    """Items as JSON objects."""
    features: list[dict[str, object]] = json.loads(case.catalog.read_text())["features"]
    return features


def _item(case: Case, root: str, row: int, col: int, date: int) -> pystac.Item:
    box = GeoBox((case.scene, case.scene), case.transform(row, col), EPSG)
    around = box.extent.to_crs("EPSG:4326")
    when = datetime(PERIOD, 5, 1, 10, tzinfo=UTC) + timedelta(days=20 * date)
    item = pystac.Item(
        f"scene_{row:02}_{col:02}_{date}", around.json, list(around.boundingbox.bbox), when, {}
    )
    # Both forms: stackstac knows only the older one.
    item.properties |= {"proj:code": f"EPSG:{EPSG}", "proj:epsg": EPSG}
    item.properties["proj:shape"] = list(box.shape)
    item.properties["proj:transform"] = list(box.affine)[:6]
    for number, band in enumerate(BANDS):
        fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
        href = f"{root}/{_name(row, col, date, number)}"
        item.add_asset(
            band, pystac.Asset(href, media_type=pystac.MediaType.COG, extra_fields=fields)
        )
    return item


def _name(row: int, col: int, date: int, band: int) -> str:
    return f"{row:02}_{col:02}_{date}_{BANDS[band]}.tif"


def _blocks(size: int, date: int, band: int) -> Iterator[npt.NDArray[np.uint16]]:
    """Blocks of one scene, row by row; land is the same on each date, noise is not."""
    from scipy.ndimage import gaussian_filter, zoom

    land = np.random.default_rng(band // 2)  # bands in pairs, as visible and infrared are
    small = gaussian_filter(land.normal(size=(size // 8, size // 8)), 3, mode="wrap")
    fields = np.where(small > 0, 900, -900) + 9000 * small
    noise = np.random.default_rng([date, band])
    for top in range(0, size, BLOCK):
        rows = zoom(fields[top // 8 : (top + BLOCK) // 8], 8, order=1)
        rows = rows * (1 + 0.2 * band) + 3000 + 60 * date + noise.normal(0, 25, rows.shape)
        values = np.clip(rows, 1, 12_000).astype(np.uint16)
        # The edge of a swath, at another place on every date.
        across = np.arange(size)[None, :] + np.arange(top, top + BLOCK)[:, None] // 4
        values[(across - date * size // 3) % (2 * size) < size // 16] = 0
        for left in range(0, size, BLOCK):
            yield values[:, left : left + BLOCK]
