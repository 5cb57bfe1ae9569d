"""torchgeo's loop over a grid of chips, with a windowed write.

A script of its own, for the environment of torchgeo: it imports neither Dask nor odc-geo.
Chips are as wide as a model window and start at the dataset's corner, the lower left.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import zarr
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

from benchmarks.engine.case import BANDS, DATES, HALO, MEAN, NODATA, STD, STRIDE, Case
from benchmarks.engine.models import plain_module


class Scenes(RasterDataset):  # type: ignore[misc]
    """One date; a file a band."""

    filename_regex = r".*_(?P<band>blue|green|red|nir)\.tif"
    separate_files = True
    all_bands = BANDS


def main(case_file: str, options: str, out: str) -> None:
    """Make the map, write ``classes.zarr`` and ``result.json``."""
    case, chosen = Case.read(Path(case_file)), json.loads(options)
    features = json.loads(case.catalog.read_text())["features"]
    dates = sorted({feature["properties"]["datetime"] for feature in features})
    module = plain_module(case.model_path)
    torch.set_num_threads(case.threads)
    array = zarr.open_group(Path(out) / "classes.zarr", mode="w").create_array(
        "classification", shape=case.shape, chunks=(512, 512), dtype="uint8", fill_value=NODATA
    )
    started = perf_counter()
    dataset: Any = None
    for date in dates:
        hrefs = [
            _vsi(feature["assets"][BANDS[0]]["href"])
            for feature in features
            if feature["properties"]["datetime"] == date
        ]
        day = Scenes(hrefs)
        dataset = day if dataset is None else dataset & day
    sampler = GridGeoSampler(dataset, size=STRIDE + 2 * HALO, stride=STRIDE)
    loader = DataLoader(
        dataset, sampler=sampler, collate_fn=stack_samples, num_workers=chosen["workers"]
    )
    across = -(-(case.shape[1] - 2 * HALO) // STRIDE)
    with torch.inference_mode():
        for number, batch in enumerate(loader):
            scenes = batch["image"].unflatten(1, (DATES, len(BANDS)))[0].float()
            _write(array, _classes(scenes, module), *divmod(number, across))
    seconds = perf_counter() - started
    (Path(out) / "result.json").write_text(json.dumps({"seconds": seconds}))


def _classes(scenes: torch.Tensor, module: Any) -> np.ndarray:
    """``(time, band, y, x)``, 0 where nothing was seen, to class values."""
    scenes = torch.where(scenes == 0, torch.nan, scenes)
    low, high = torch.nanmedian(scenes, 0).values, -torch.nanmedian(-scenes, 0).values
    image = (low + high) / 2
    seen = torch.isfinite(image).any(0)
    best = module(((image - MEAN) / STD).nan_to_num(0.0)[None])[0].argmax(0) + 1
    classes: np.ndarray = torch.where(seen, best, NODATA).to(torch.uint8).numpy()
    return classes


def _write(array: Any, chip: np.ndarray, row: int, col: int) -> None:
    """What a chip keeps; rows of chips count from the bottom, those of the map from the top."""
    height, width = array.shape
    low, left = row * STRIDE + HALO * (row > 0), col * STRIDE + HALO * (col > 0)
    high, right = min((row + 1) * STRIDE + HALO, height), min((col + 1) * STRIDE + HALO, width)
    if low >= high or left >= right:
        return
    bottom = row * STRIDE + chip.shape[0]  # of the map's pixels, from below, where the chip ends
    rows = slice(bottom - high, bottom - low)
    cols = slice(left - col * STRIDE, right - col * STRIDE)
    array[height - high : height - low, left:right] = chip[rows, cols]


def _vsi(href: str) -> str:
    return f"/vsicurl/{href}" if "://" in href else href


if __name__ == "__main__":
    main(*sys.argv[1:])
