"""Peak memory of a process beside what `plan` says of it, by the width of a tile.

    python -m benchmarks.memory [--tiles 1024 ...] [--clusters process local:1] [--json FILE]

20 dates of 6 bands and a mask's band (uint16, DEFLATE, 512 px blocks) of a local archive, medians
of three parts of the year, two threads, two tiles side by side. Every run is a process of its
own, and so is the worker of a cluster; `peak` is the most that it ever held (VmHWM). A quarter of
the blocks hold values, the others are nodata: what is held in memory is the same, and a tile of
8192 px is done in minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from affine import Affine
from odc.geo.geobox import GeoBox

from benchmarks.engine.case import CLASSES, EPSG, HALO, PERIOD, RESOLUTION, STRIDE
from benchmarks.engine.scenes import write_area
from benchmarks.engine.tiff import BLOCK, compress, write_tiff
from benchmarks.options import parser_of

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SCL = "scl"
WINDOWS = {
    "early": ["01-01", "04-30"],
    "middle": ["05-01", "08-31"],
    "late": ["09-01", "12-31"],
}
LIMIT_BYTES = 3 * 2**30
"""What a process may take, whatever the tile."""
# Rows and columns of tiles in the area: two side by side at least, and enough of small ones to
# come to rest.
_AREAS = {1024: (2, 4), 2048: (2, 2)}
_SCENE = 8192
COL0, ROW0 = 5 * _SCENE, -62 * _SCENE  # on the lines of tiles of any width


def main() -> None:
    options = _options()
    if options.child:
        run_in_child(options.child)
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        for tile in options.tiles:
            case = write_case(Path(folder) / str(tile), tile, options.dates, whole=options.whole)
            for cluster in options.clusters:
                row = measure(case, cluster, options.threads)
                rows.append({"tile": tile, "cluster": cluster, **row})
                print(_line(rows[-1]), flush=True)
            shutil.rmtree(case)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--tiles", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--clusters", nargs="+", default=["process", "local:1"])
    parser.add_argument("--dates", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="all blocks hold values")
    parser.add_argument("--scratch", type=Path, help="where files are written")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _line(row: dict[str, Any]) -> str:
    planned, peak = row["planned_bytes"] / 2**30, row["peak_bytes"] / 2**30
    kept = "kept" if row["peak_bytes"] <= min(row["planned_bytes"], LIMIT_BYTES) else "MISSED"
    return (
        f"tile {row['tile']:5} px  {row['cluster']:8}  plan {planned:5.2f} GiB  "
        f"peak {peak:5.2f} GiB  {peak / planned:4.2f} x  {row['seconds']:6.1f} s  {kept}"
    )


def measure(folder: Path, cluster: str, threads: int) -> dict[str, Any]:
    """What `plan` says, and the peak of a run."""
    import rsscale as rs

    client = None if cluster == "process" else cluster
    planned = rs.plan(folder / "recipe.json", client=client, threads=threads).memory
    request = folder / "request.json"
    request.write_text(json.dumps({"client": client, "threads": threads}))
    command = [sys.executable, "-m", "benchmarks.memory", "--child", str(request)]
    started = time.monotonic()
    subprocess.run(command, check=True)  # noqa: S603
    seconds = time.monotonic() - started
    peak = json.loads((folder / "peak.json").read_text())
    return {"planned_bytes": planned, "peak_bytes": peak, "seconds": seconds}


def run_in_child(request: Path) -> None:
    """Map the case and write the peak of the process that computed it."""
    import rsscale as rs
    from rsscale.cluster.allocator import keep_memory

    options = json.loads(request.read_text())
    folder = request.parent
    shutil.rmtree(folder / "run", ignore_errors=True)
    keep_memory()
    rs.run(folder / "recipe.json", folder / "run", **options)
    entries = (folder / "run").rglob("run.json")
    peak = max(json.loads(entry.read_text()).get("peak_rss_bytes", 0) for entry in entries)
    (folder / "peak.json").write_text(json.dumps(peak))


def write_case(folder: Path, tile: int, dates: int, *, whole: bool = False, root: str = "") -> Path:
    """Scenes, items, model, area and recipe of some tiles of a width.

    Parameters
    ----------
    folder : Path
        Where all is written; scenes in its folder ``scenes``.
    tile, dates : int
    whole : bool
        Whether all blocks hold values.
    root : str
        The address of the folder of scenes; its path when empty.
    """
    down, across = _AREAS.get(tile, (1, 2))
    height, width = down * tile, across * tile
    (folder / "scenes").mkdir(parents=True)
    items = [
        _scene(folder / "scenes", col, 365 * date // dates, root=root, whole=whole)
        for col in range(-(-width // _SCENE))
        for date in range(dates)
    ]
    collection = {"type": "FeatureCollection", "features": [item.to_dict() for item in items]}
    (folder / "items.json").write_text(json.dumps(collection))
    write_area(GeoBox((height, width), _transform(0), EPSG), folder)
    _write_model(folder)
    recipe = {
        "name": f"memory-{tile}",
        "area": str(folder / "area.gpkg"),
        "grid": {"crs": f"EPSG:{EPSG}", "resolution": RESOLUTION, "tile": tile},
        "periods": [PERIOD],
        "inputs": {
            "s2": {
                "catalog": str(folder / "items.json"),
                "bands": list(BANDS),
                "mask": {"band": SCL, "keep": [4, 5, 6, 7, 11], "dilate": 40},
                "composite": {"by": {"windows": WINDOWS}, "reducer": "median"},
            }
        },
        "model": str(folder / "model"),
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))  # JSON is YAML
    return folder


def _scene(folder: Path, col: int, day: int, *, root: str, whole: bool) -> pystac.Item:
    box = GeoBox((_SCENE, _SCENE), _transform(col * _SCENE), EPSG)
    when = datetime(PERIOD, 1, 3, 10, tzinfo=UTC) + timedelta(days=day)
    around = box.extent.to_crs("EPSG:4326")
    item = pystac.Item(f"s{col}_{day}", around.json, list(around.boundingbox.bbox), when, {})
    item.properties |= {"proj:code": f"EPSG:{EPSG}", "proj:shape": list(box.shape)}
    item.properties["proj:transform"] = list(box.affine)[:6]
    random = np.random.default_rng([col, day])
    across = _SCENE // BLOCK
    is_kept = [whole or (n % across + n // across) % 4 == 0 for n in range(across**2)]
    for band in (*BANDS, SCL):
        low, high = (4, 7) if band == SCL else (1000, 1200)
        kinds = [
            compress(random.integers(low, high, (BLOCK, BLOCK), dtype=np.uint16)) for _ in range(3)
        ]
        blocks = [kinds[n % 3] if kept else b"" for n, kept in enumerate(is_kept)]
        path = folder / f"{item.id}_{band}.tif"
        write_tiff(path, _SCENE, blocks, box.affine, EPSG)
        fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
        href = f"{root or folder}/{path.name}"
        item.add_asset(
            band, pystac.Asset(href, media_type=pystac.MediaType.COG, extra_fields=fields)
        )
    return item


def _transform(col: int) -> Affine:
    left, top = (COL0 + col) * RESOLUTION, -ROW0 * RESOLUTION
    return Affine(RESOLUTION, 0, left, 0, -RESOLUTION, top)


def _write_model(folder: Path) -> None:
    """A network of two layers that costs nothing, so that all else shows."""
    import torch

    from rsscale.geo.lattice import Lattice
    from rsscale.learn.architectures import build
    from rsscale.learn.models import Model, save_model
    from rsscale.legend.classes import LandClass
    from rsscale.model.model_input import ModelInput
    from rsscale.model.spec import ModelSpec

    torch.manual_seed(0)
    spec = ModelSpec(
        name="two-layer",
        inputs=(ModelInput("s2", BANDS, tuple(WINDOWS), (1100.0,) * 6, (100.0,) * 6),),
        classes=tuple(
            LandClass(k + 1, f"class {k + 1}", f"#{k * 40:02x}8040") for k in range(CLASSES)
        ),
        lattice=Lattice(STRIDE, HALO),
        architecture="pixel",
        hyperparameters={"width": 32},
        resolution=RESOLUTION,
    )
    module = build("pixel", spec.inputs, CLASSES, width=32).eval()
    save_model(Model(spec, module, torch.device("cpu")), folder / "model")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
