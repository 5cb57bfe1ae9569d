"""What the machine could do at best: each stage alone with all cores, one after another.

Two limits. *Own*: the stages as rsscale computes them, without anything between them. *Strict*:
the fastest known way to read and to infer, whoever wrote it: GDAL's plain reads where they are
faster, a bare torch loop over arrays that are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.engine.case import BANDS, PERIOD, SCENE, Case
from benchmarks.engine.contenders import Options, bare, warm
from benchmarks.engine.scenes import read_items
from benchmarks.engine.tiff import BLOCK
from benchmarks.serving import VSICURL

_ROWS = 1024


def limit(case: Case, options: Options, out: Path) -> float:
    """Seconds of the own limit; all stages go to ``stages.json``."""
    del options
    import torch

    import rsscale as rs
    from rsscale.cluster.allocator import keep_memory

    keep_memory()  # as a run does
    torch.set_num_threads(case.threads)
    warm(case)
    model = rs.open_model(case.model_path, device="cpu")
    parts = list(_parts(case))
    stages = {"read (GDAL)": _timed(lambda: _read_gdal(case))}
    seconds, cubes = _kept(lambda: [_read(case, part) for part in parts])
    stages["read"] = seconds
    seconds, composites = _kept(lambda: [_prepare(case, cube) for cube in cubes])
    stages["prepare"] = seconds
    cubes.clear()
    stages["infer"], maps = _kept(lambda: [rs.predict(image, model) for image in composites])
    stages["write"] = _timed(lambda: _write(out, case, [m.classification.values for m in maps]))
    stages["infer (bare)"] = min(bare(case, {"channels_last": last}, out) for last in (False, True))
    (out / "stages.json").write_text(json.dumps(stages))
    return total(stages)


def total(stages: dict[str, float]) -> float:
    """Seconds of the own limit."""
    return sum(stages[name] for name in ("read", "prepare", "infer", "write"))


def strict(stages: dict[str, float]) -> float:
    """Seconds of the strict limit."""
    read = min(stages["read"], stages["read (GDAL)"])
    infer = min(stages["infer"], stages["infer (bare)"])
    return read + stages["prepare"] + infer + stages["write"]


def _parts(case: Case) -> Any:
    """Boxes of at most a scene, so that no stage holds more than that."""
    step = min(SCENE, case.scene)
    for top in range(0, case.shape[0], step):
        for left in range(0, case.shape[1], step):
            yield case.geobox[top : top + step, left : left + step]


def _read_gdal(case: Case) -> None:
    import rasterio
    from rasterio.windows import Window

    def read(job: tuple[str, int]) -> None:
        href, top = job
        name = f"/vsicurl/{href}" if "://" in href else href
        with rasterio.Env(**VSICURL), rasterio.open(name) as dataset:
            dataset.read(1, window=Window(0, top, case.scene, min(_ROWS, case.scene)))

    items: Any = read_items(case)
    jobs = [
        (item["assets"][band]["href"], top)
        for item in items
        for band in BANDS
        for top in range(0, case.scene, _ROWS)
    ]
    with ThreadPoolExecutor(case.threads) as pool:
        list(pool.map(read, jobs))


def _read(case: Case, box: Any) -> Any:
    import pystac

    import rsscale as rs

    items = [pystac.Item.from_dict(item) for item in read_items(case)]
    cube = rs.load(items, box, list(BANDS))
    return cube.compute(scheduler="threads", num_workers=case.threads)


def _prepare(case: Case, cube: Any) -> Any:
    import rsscale as rs

    # Named: else Dask would hash all pixels, which no stage does.
    chunks = {"time": -1, "band": -1, "y": 2 * BLOCK, "x": 2 * BLOCK}
    lazy = cube.chunk(chunks, token="cube")  # noqa: S106 -- a name
    image = rs.composite(lazy, "year", "median", years=[PERIOD])
    return image.compute(scheduler="threads", num_workers=case.threads)


def _write(out: Path, case: Case, maps: list[np.ndarray]) -> None:
    import os

    import zarr

    size = min(SCENE, case.scene)
    for number, classes in enumerate(maps):
        path = out / f"limit-{number}.zarr"
        array = zarr.create_array(
            path, shape=classes.shape, dtype="uint8", chunks=(BLOCK, BLOCK), shards=(size, size),
            fill_value=255,
        )  # fmt: skip
        array[...] = classes
        for file in path.rglob("c/*/*"):
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)


def _timed(stage: Callable[[], Any]) -> float:
    return _kept(stage)[0]


def _kept(stage: Callable[[], Any]) -> tuple[float, Any]:
    started = perf_counter()
    result = stage()
    return perf_counter() - started, result
