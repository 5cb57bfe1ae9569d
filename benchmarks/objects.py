"""Objects of a country: detection over 100 million pixels, against the truth and a plain loop.

    python -m benchmarks.objects [--scenes 4] [--tile 2048] [--quick] [--json FILE]

Scenes of 2560 px with rectangles of known place, some 6 to 24 px wide, some wider than a window's
halo, some wider than a window, are served as files and searched by a detector that finds bright
pieces exactly: so what comes out must be the truth, object by object. Once for a quarter of the
area and once for all of it, on one local worker: peak memory, of the whole process tree and of the
largest process, may not grow.

The contender is what is written without rsscale: a loop over the same windows in one process, with
the mosaic in memory, and one suppression at the end (torchvision's). It is compared by its
objects too: what it doubles and cuts is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pystac
import rasterio
import torch
import yaml
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from scipy import ndimage
from torch import nn

import rsscale as rs
from benchmarks.engine import processes
from benchmarks.options import parser_of
from rsscale.model.model_input import ModelInput

SCENE, CELL, CLUSTER_OF_CELLS = 2560, 40, 8
CRS, RESOLUTION = "EPSG:32631", 10
# The first pixel of the mosaic, off all lines of tiles and windows.
ROW, COL = -498_317, 73_119
STRIDE, HALO = 448, 32
BACKGROUND, BRIGHT = 1000, 3000
_TIMEOUT_S = 3600.0


class Pieces(nn.Module):
    """Finds pieces of bright pixels exactly; its score is the brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor([2000.0]))

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Boxes, labels and scores of each image."""
        return [self._found(image[0].numpy()) for image in images]

    def _found(self, band: npt.NDArray[np.float32]) -> dict[str, torch.Tensor]:
        pieces, count = ndimage.label(band > float(self.threshold))
        places = ndimage.find_objects(pieces)
        boxes = [[c.start, r.start, c.stop, r.stop] for r, c in places]
        scores = [float(band[r.start, c.start]) / 4000 for r, c in places]
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.ones(count, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
        }


def make_pieces(channels: int, classes: int) -> nn.Module:
    """A factory as a model's contract names it."""
    del channels, classes
    return Pieces()


def main() -> None:
    parser = parser_of(__doc__, quick="one scene and four")
    parser.add_argument("--scenes", type=int, default=4, help="along each side of the whole area")
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--cluster", default="local:1")
    parser.add_argument("--scratch", type=Path, help="keep scenes here for another time")
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.scenes = 2
    if options.plain:
        plain_loop(options.scratch, options.plain)
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = measure((options.scratch or Path(temporary)).absolute(), options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    _tell(report)
    if not all(run["same_as_truth"] for run in report["runs"]):
        raise SystemExit("the objects of a run differ from those that there are")


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Both areas, and the contender on the larger one."""
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, options.scenes)
    runs = [run_of(folder, across, options) for across in (options.scenes // 2, options.scenes)]
    command = [sys.executable, "-m", "benchmarks.objects", "--plain", str(options.scenes)]
    ended = processes.run(
        [*command, "--scratch", str(folder)], folder / "plain.log", timeout=_TIMEOUT_S
    )
    if ended.code:
        raise SystemExit(ended.output[-2000:])
    plain = json.loads((folder / "plain.json").read_text())
    plain |= {"seconds": ended.seconds, "peak_bytes_of_all_processes": ended.peak_bytes}
    cores = len(os.sched_getaffinity(0))
    return {
        "runs": runs,
        "plain": plain,
        "torchvision": torchvision_windows(folder),
        "cores": cores,
    }


def torchvision_windows(folder: Path, count: int = 6) -> dict[str, float]:
    """Seconds a window of a Faster R-CNN: the bare network, and with all that detecting adds."""
    import xarray as xr

    from rsscale.detection.windows import detect_windows
    from rsscale.geo.lattice import PixelBox
    from rsscale.inference.stack import InputStack
    from rsscale.learn.architectures import build

    model_input = ModelInput("s2", ("red",), ("year",), (1000.0,), (500.0,))
    torch.manual_seed(0)
    model = rs.Model.of(
        build("fasterrcnn", (model_input,), 1).eval(),
        inputs=[model_input], classes=[rs.LandClass(1, "thing", "#e31a1c")],
        output=rs.ObjectOutput("boxes", score_threshold=0.05), stride=STRIDE, halo=HALO,
    )  # fmt: skip
    with rasterio.open(folder / _name(0, 0)) as file:
        values = file.read(1).astype(np.float32)[None, None]
    image = xr.DataArray(
        values, dims=("time", "band", "y", "x"), coords={"time": ["year"], "band": ["red"]}
    )
    box = PixelBox(0, 0, SCENE, SCENE)
    stack = InputStack({"s2": image}, model.spec, box)
    cores = [core for core in box.blocks(STRIDE) if core.pad(HALO) & box == core.pad(HALO)]
    bare, detected = [], []
    detect_windows(stack, model, cores[:1])  # warms up
    for core in cores[:count]:
        rows, cols = core.pad(HALO).slices(box)
        window = torch.from_numpy((values[..., rows, cols] - 1000) / 500)
        started = time.perf_counter()
        with torch.inference_mode():
            model.module(window)
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        detect_windows(stack, model, [core])
        detected.append(time.perf_counter() - started)
    ratio = [b / d for b, d in zip(bare, detected, strict=True)]
    return {
        "seconds_of_the_network": float(np.median(bare)),
        "seconds_of_detecting": float(np.median(detected)),
        "of_the_limit": float(np.median(ratio)),
    }


def run_of(folder: Path, across: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run through the command line, compared with the truth."""
    out = folder / f"run-{across}"
    shutil.rmtree(out, ignore_errors=True)
    recipe = folder / f"recipe-{across}.yaml"
    recipe.write_text(yaml.safe_dump(recipe_of(folder, across, options.tile)))
    command = [sys.executable, "-m", "rsscale", "--quiet", "run", str(recipe), "--out", str(out),
               "--cluster", options.cluster]  # fmt: skip
    ended = processes.run(
        command, folder / "run.log", timeout=_TIMEOUT_S,
        environment={"RSSCALE_ARCHITECTURES": "benchmarks.objects"},
    )  # fmt: skip
    if ended.code:
        raise SystemExit(ended.output[-2000:])
    run = rs.Run(out)
    table = run.table("things")
    objects = Counter(_pixels(row) for row in table.select(["bbox"]).to_pylist())
    wanted = Counter(map(tuple, truth(across).tolist()))
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    peaks = [event["peak_rss_bytes"] for event in events if "peak_rss_bytes" in event]
    steps = run.state["steps"]
    pixels = (across * SCENE) ** 2
    return {
        "million_pixels": pixels / 1e6,
        "tiles": len(list((out / "ledger" / "things-windows").rglob("*.json"))),
        "windows": steps["things-windows"]["facts"]["windows"],
        "objects": table.num_rows,
        "merged": steps["things"]["facts"]["merged"],
        "rows_of_the_gather": run.table("things-decided").num_rows,
        "seconds": ended.seconds,
        "mpx_per_second": pixels / 1e6 / ended.seconds,
        "peak_bytes_of_all_processes": ended.peak_bytes,
        "peak_bytes_of_a_worker": max(peaks, default=0),
        "same_as_truth": objects == wanted,
    }


def _pixels(row: dict[str, Any]) -> tuple[int, ...]:
    """A row's box in pixels of the mosaic."""
    box = row["bbox"]
    left, top = box["xmin"] / RESOLUTION - COL, -box["ymax"] / RESOLUTION - ROW
    right, bottom = box["xmax"] / RESOLUTION - COL, -box["ymin"] / RESOLUTION - ROW
    return tuple(round(value) for value in (left, top, right, bottom))


def plain_loop(folder: Path, across: int) -> None:
    """The contender: every window of the mosaic, and torchvision's suppression of all boxes."""
    from torchvision.ops import nms

    started = time.perf_counter()
    width = across * SCENE
    mosaic = np.zeros((width, width), np.float32)
    for row, col in np.ndindex(across, across):
        with rasterio.open(folder / _name(row, col)) as file:
            mosaic[row * SCENE : (row + 1) * SCENE, col * SCENE : (col + 1) * SCENE] = file.read(1)
    reading = time.perf_counter() - started
    network, boxes, scores = Pieces().eval(), [], []
    with torch.inference_mode():
        for top in range(ROW // STRIDE * STRIDE - ROW, width, STRIDE):
            for left in range(COL // STRIDE * STRIDE - COL, width, STRIDE):
                window = np.zeros((STRIDE + 2 * HALO,) * 2, np.float32)
                r0, c0 = max(top - HALO, 0), max(left - HALO, 0)
                part = mosaic[r0 : top + STRIDE + HALO, c0 : left + STRIDE + HALO]
                at = (r0 - top + HALO, c0 - left + HALO)
                window[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
                (detections,) = network(torch.from_numpy(window)[None, None])
                corner = torch.tensor([left - HALO, top - HALO] * 2, dtype=torch.float32)
                boxes.append(detections["boxes"] + corner)
                scores.append(detections["scores"])
    every = torch.cat(boxes)
    kept = every[nms(every, torch.cat(scores), 0.5)].numpy().astype(int)
    found_here = Counter(map(tuple, kept.tolist()))
    wanted = Counter(map(tuple, truth(across).tolist()))
    report = {
        "objects": len(kept),
        "right": sum((found_here & wanted).values()),
        "cut_or_doubled": sum((found_here - wanted).values()),
        "missing": sum((wanted - found_here).values()),
        "seconds_reading": reading,
    }
    (folder / "plain.json").write_text(json.dumps(report))


def truth(across: int) -> npt.NDArray[np.int64]:
    """Boxes ``x0, y0, x1, y1`` in pixels of the mosaic of ``across`` scenes along each side."""
    parts = [
        scene_boxes(r, c) + np.array([c, r, c, r]) * SCENE for r, c in np.ndindex(across, across)
    ]
    return np.concatenate(parts)


def scene_boxes(row: int, col: int) -> npt.NDArray[np.int64]:
    """One in most cells of 40 px; in some groups of eight by eight cells one large one instead."""
    rng = np.random.default_rng([row, col])
    cells = SCENE // CELL
    large = rng.uniform(size=(cells // CLUSTER_OF_CELLS,) * 2) < 0.1
    is_large = np.kron(large, np.ones((CLUSTER_OF_CELLS,) * 2, int)).astype(bool)
    rows, cols = np.nonzero((rng.uniform(size=(cells, cells)) < 0.9) & ~is_large)
    size = rng.integers(6, 25, (len(rows), 2))
    offset = rng.integers(1, CELL - 1 - size)
    lower = np.stack([cols, rows], axis=1) * CELL + offset
    few, many = np.nonzero(large)
    room = CELL * CLUSTER_OF_CELLS
    wide = rng.integers(40, room - 4, (len(few), 2))
    first = np.stack([many, few], axis=1) * room + rng.integers(1, room - 1 - wide)
    return np.concatenate(
        [
            np.concatenate([lower, lower + size], axis=1),
            np.concatenate([first, first + wide], axis=1),
        ]
    )


def make(folder: Path, scenes: int) -> None:
    """Files of all scenes, a catalogue, and the detector."""
    items = []
    for row, col in np.ndindex(scenes, scenes):
        place = Affine(
            RESOLUTION, 0, (COL + col * SCENE) * RESOLUTION,
            0, -RESOLUTION, -(ROW + row * SCENE) * RESOLUTION,
        )  # fmt: skip
        path = folder / _name(row, col)
        if not path.exists():
            _write(path, row, col, place)
        items.append(_item(path, place))
    collection = {"type": "FeatureCollection", "features": items}
    (folder / "catalog.json").write_text(json.dumps(collection))
    model = rs.Model.of(
        Pieces().eval(),
        inputs=[ModelInput("s2", ("red",), ("year",), (0.0,), (1.0,))],
        classes=[rs.LandClass(1, "thing", "#e31a1c")],
        output=rs.ObjectOutput("boxes", score_threshold=0.1, most=5000),
        stride=STRIDE, halo=HALO, architecture="benchmarks.objects:make_pieces",
        hyperparameters={}, resolution=float(RESOLUTION),
    )  # fmt: skip
    os.environ["RSSCALE_ARCHITECTURES"] = "benchmarks.objects"
    rs.save_model(model, folder / "model")


def recipe_of(folder: Path, across: int, tile: int) -> dict[str, Any]:
    """Objects over the first scenes along each side."""
    import geopandas as gpd
    import shapely

    west, north = COL * RESOLUTION, -ROW * RESOLUTION
    side, inset = across * SCENE * RESOLUTION, RESOLUTION / 5
    shape = shapely.box(west + inset, north - side + inset, west + side - inset, north - inset)
    area = folder / f"area-{across}.gpkg"
    gpd.GeoDataFrame(geometry=[shape], crs=CRS).to_file(area)
    return {
        "name": "objects",
        "area": str(area),
        "grid": {"crs": CRS, "resolution": RESOLUTION, "tile": tile},
        "periods": [2023],
        "inputs": {
            "s2": {
                "catalog": str(folder / "catalog.json"),
                "bands": ["red"],
                "composite": {"by": "year", "reducer": "max"},
            }
        },
        "steps": {"things": {"kind": "detect", "of": "s2", "model": str(folder / "model")}},
    }


def _name(row: int, col: int) -> str:
    return f"scene_{row:02}_{col:02}.tif"


def _write(path: Path, row: int, col: int, place: Affine) -> None:
    rng = np.random.default_rng([row, col, 1])
    values = rng.integers(BACKGROUND - 200, BACKGROUND + 200, (SCENE, SCENE), dtype=np.uint16)
    for number, (x0, y0, x1, y1) in enumerate(scene_boxes(row, col)):
        values[y0:y1, x0:x1] = BRIGHT + number % 900
    with rasterio.open(
        path, "w", driver="GTiff", width=SCENE, height=SCENE, count=1, dtype="uint16", crs=CRS,
        transform=place, tiled=True, blockxsize=512, blockysize=512, compress="deflate",
        predictor=2, nodata=0, num_threads=2, zlevel=1,
    ) as file:  # fmt: skip
        file.write(values, 1)


def _item(path: Path, place: Affine) -> dict[str, Any]:
    around = GeoBox((SCENE, SCENE), place, CRS).extent.to_crs("EPSG:4326")
    item = pystac.Item(
        path.stem, around.json, list(around.boundingbox.bbox),
        datetime(2023, 6, 1, 10, tzinfo=UTC),
        {"proj:code": CRS, "proj:shape": [SCENE, SCENE], "proj:transform": list(place)[:6]},
    )  # fmt: skip
    raster = {"data_type": "uint16", "nodata": 0}
    item.add_asset(
        "red",
        pystac.Asset(
            str(path), media_type=pystac.MediaType.COG, roles=["data"],
            extra_fields={"raster:bands": [raster]},
        ),
    )  # fmt: skip
    described: dict[str, Any] = item.to_dict()
    return described


def _tell(report: dict[str, Any]) -> None:
    small, large = report["runs"]
    print(f"{'':30}{'a quarter':>12}{'all':>12}{'plain loop':>12}")
    plain = report["plain"]
    for name, digits in (("million_pixels", 1), ("tiles", 0), ("windows", 0), ("objects", 0),
                         ("merged", 0), ("rows_of_the_gather", 0), ("seconds", 1),
                         ("mpx_per_second", 2), ("right", 0), ("cut_or_doubled", 0),
                         ("missing", 0)):  # fmt: skip
        cells = [f"{figures[name]:12.{digits}f}" if name in figures else f"{'':12}"
                 for figures in (small, large, plain)]  # fmt: skip
        print(f"{name.replace('_', ' '):30}{''.join(cells)}")
    for name in ("peak_bytes_of_all_processes", "peak_bytes_of_a_worker"):
        cells = [f"{figures.get(name, 0) / 2**20:12.0f}" for figures in (small, large, plain)]
        print(f"{name.replace('_bytes_', ' MiB '):30}{''.join(cells)}")
        print(f"{'':30}{large[name] / max(small[name], 1):24.2f} x")
    of = report["torchvision"]
    print(
        f"a window of a Faster R-CNN {of['seconds_of_the_network']:.2f} s, with all that detecting "
        f"adds {of['seconds_of_detecting']:.2f} s: {of['of_the_limit']:.2f} of the limit"
    )
    print(f"same as the truth: {[run['same_as_truth'] for run in report['runs']]}")


if __name__ == "__main__":
    main()
