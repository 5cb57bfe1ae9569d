"""Ways to make the same map. Each is a function of the case, its options and where to write.

They return the seconds that the map itself took: clusters are up and libraries are imported
before the clock starts, for all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.engine.case import (
    BANDS,
    EPSG,
    HALO,
    MEAN,
    NODATA,
    PERIOD,
    RESOLUTION,
    STD,
    STRIDE,
    Case,
)  # fmt: skip
from benchmarks.engine.counting import Counts, counted
from benchmarks.engine.models import plain_module
from benchmarks.engine.scenes import read_items

Options = Mapping[str, Any]


def classify(images: Any, folder: str) -> np.ndarray:
    """``(band, y, x)`` numbers, NaN where nothing was seen, to class values; as one would do it."""
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(np.asarray(images, np.float32))
        seen = torch.isfinite(x).any(0)
        x = ((x - MEAN) / STD).nan_to_num(0.0)
        best = _module(folder)(x[None])[0].argmax(0) + 1
        return torch.where(seen, best, NODATA).to(torch.uint8).numpy()


@lru_cache(1)
def _module(folder: str) -> Any:
    return plain_module(Path(folder))


# --- contenders


def bare(case: Case, options: Options, out: Path) -> float:
    """Torch over the same windows, normalised arrays in memory, nothing else."""
    import torch

    images = torch.from_numpy(np.load(case.path / "normalised.npy"))  # with the halo around
    module = plain_module(case.model_path)
    if options.get("channels_last"):
        module = module.to(memory_format=torch.channels_last)
    classes = np.empty(case.shape, np.uint8)
    started = perf_counter()
    with torch.inference_mode():
        for row, col in windows(case):
            window = images[None, :, row : row + STRIDE + 2 * HALO, col : col + STRIDE + 2 * HALO]
            if options.get("channels_last"):
                window = window.contiguous(memory_format=torch.channels_last)
            best = module(window)[0].argmax(0)[HALO:-HALO, HALO:-HALO] + 1
            classes[row : row + STRIDE, col : col + STRIDE] = best.to(torch.uint8).numpy()
    seconds = perf_counter() - started
    np.save(out / "classes.npy", classes)
    return seconds


def windows(case: Case) -> Iterator[tuple[int, int]]:
    """Where the kept part of each window starts."""
    for row in range(0, case.shape[0], STRIDE):
        for col in range(0, case.shape[1], STRIDE):
            yield row, col


def stackstac_way(case: Case, options: Options, out: Path) -> float:
    """stackstac, median, overlap, to_zarr: what a user writes today."""
    import stackstac

    left, bottom, right, top = case.geobox.boundingbox.bbox
    dtype = options["dtype"]
    with cluster(case, options) as counts, counts:
        started = perf_counter()
        cube = stackstac.stack(
            read_items(case), list(BANDS), epsg=EPSG, resolution=RESOLUTION,
            bounds=(left, bottom, right, top), snap_bounds=False, chunksize=options["chunk"],
            dtype=dtype, fill_value=np.dtype(dtype).type("nan"), rescale=False,
        )  # fmt: skip
        median = cube.median("time")  # (band, y, x)
        _overlap_to_zarr(median.data, case, out, np.nan, classify)
        return perf_counter() - started


def odc_way(case: Case, options: Options, out: Path) -> float:
    """odc-stac in the files' own numbers, the median inside one function of a block."""
    import dask.array as da
    import odc.stac
    import pystac

    chunk = options["chunk"]
    with cluster(case, options) as counts, counts:
        odc.stac.configure_rio(cloud_defaults=True, client=counts.client)
        started = perf_counter()
        items = [pystac.Item.from_dict(item) for item in read_items(case)]
        loaded = odc.stac.load(
            items, bands=list(BANDS), geobox=case.geobox, chunks={"x": chunk, "y": chunk},
            groupby="solar_day", dtype="uint16", nodata=0,
        )  # fmt: skip
        cube = da.stack([loaded[band].data for band in BANDS])  # (band, time, y, x)
        cube = cube.rechunk((len(BANDS), -1, chunk, chunk))
        _overlap_to_zarr(cube, case, out, 0, median_and_classify)
        return perf_counter() - started


def median_and_classify(cube: np.ndarray, folder: str) -> np.ndarray:
    """``(band, time, y, x)`` uint16, 0 where nothing was seen, to class values."""
    import torch

    scenes = torch.from_numpy(cube.astype(np.float32))
    scenes[scenes == 0] = torch.nan
    return classify(nanmedian(scenes).numpy(), folder)


def nanmedian(scenes: Any) -> Any:
    """Along the second axis; of two middle values the mean, as NumPy has it."""
    import torch

    low = torch.nanmedian(scenes, 1).values
    high = -torch.nanmedian(-scenes, 1).values
    return (low + high) / 2


def _overlap_to_zarr(
    array: Any, case: Case, out: Path, edge: float, function: Callable[..., np.ndarray]
) -> None:
    """``map_overlap`` of the model, trimmed, to a Zarr of uint8."""
    import dask.array as da
    import xarray as xr

    rows, cols = array.chunks[-2:]
    leading = array.ndim - 2
    depth = (*(0,) * leading, HALO, HALO)
    array = array.rechunk((*(-1,) * leading, rows, cols))
    around = da.overlap.overlap(
        array, dict(enumerate(depth)), {n: edge if d else "none" for n, d in enumerate(depth)}
    )
    classes = around.map_blocks(
        _trimmed, function, str(case.model_path), drop_axis=list(range(leading)),
        chunks=(rows, cols), dtype=np.uint8, meta=np.empty((0, 0), np.uint8),
    )  # fmt: skip
    named = xr.DataArray(classes, dims=("y", "x"), name="classification")
    named.to_dataset().to_zarr(out / "classes.zarr", consolidated=False)


def _trimmed(block: np.ndarray, function: Callable[..., np.ndarray], folder: str) -> np.ndarray:
    return function(block, folder)[HALO:-HALO, HALO:-HALO]


def rsscale_way(case: Case, options: Options, out: Path) -> float:
    """One call."""
    import rsscale as rs

    shutil.rmtree(out / "run", ignore_errors=True)
    recipe = case.recipe(options["tile"])
    with _rsscale_cluster(case, options) as client, counted(client) as counts, counts:
        started = perf_counter()
        rs.run(
            recipe, out / "run", client, threads=case.threads, compile=options.get("compile", False)
        )
        return perf_counter() - started


# --- clusters


@contextmanager
def cluster(case: Case, options: Options) -> Iterator[Counts]:
    """One worker process of two threads, as Dask starts it; torch has what is left of the cores."""
    import dask
    from distributed import Client, LocalCluster

    threads = options["dask_threads"]
    cores = len(os.sched_getaffinity(0))
    environment = {
        **dask.config.get("distributed.nanny.pre-spawn-environ"),
        "OMP_NUM_THREADS": str(max(cores // threads, 1)),
    }
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
        LocalCluster(
            n_workers=1,
            threads_per_worker=threads,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port
        ) as local,
        Client(local) as client,
        counted(client) as counts,
    ):
        client.run(warm, case)
        yield counts


@contextmanager
def _rsscale_cluster(case: Case, options: Options) -> Iterator[Any]:
    from rsscale.cluster.connection import connect

    name = options["cluster"]
    with connect(name) if name else nullcontext() as client:
        warm(case)
        if client is not None:
            client.run(warm, case)
        yield client


def warm(case: Case) -> None:
    """Read and classify a corner once, so that no clock runs while libraries wake up."""
    import odc.stac
    import pystac
    import stackstac

    import rsscale as rs
    import rsscale.runs.run

    features = read_items(case)[:1]
    items = [pystac.Item.from_dict(item) for item in features]
    corner = case.geobox[:64, :64]
    bounds = tuple(corner.boundingbox.bbox)
    cubes = (
        rs.composite(rs.load(items, corner, [BANDS[0]]), "year", "median", years=[PERIOD]),
        odc.stac.load(items, bands=[BANDS[0]], geobox=corner, chunks={}),
        stackstac.stack(
            features, [BANDS[0]], epsg=EPSG, resolution=RESOLUTION, bounds=bounds,
            snap_bounds=False, fill_value=np.float64("nan"),
        ),
    )  # fmt: skip
    for cube in cubes:
        cube.compute(scheduler="synchronous")
    classify(np.zeros((len(BANDS), 64, 64)), str(case.model_path))
