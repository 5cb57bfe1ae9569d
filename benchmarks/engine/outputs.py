"""Whether the contenders made the same map; before any of them is called fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.engine.case import BANDS, DATES, HALO, MEAN, NODATA, STD, STRIDE, Case
from benchmarks.engine.contenders import nanmedian, windows
from benchmarks.engine.models import plain_module

Classes = npt.NDArray[np.uint8]

# Ties between classes fall either way when sums are made in another order.
_AGREE = 0.9999
# Pixels beside a line between chunks, where a seam would show.
_BESIDE = 16


@dataclass(frozen=True)
class Agreement:
    """A contender's map against the reference.

    Attributes
    ----------
    inside : float
        Share of pixels with the same class, at least a halo away from the map's edge.
    lines : float
        The same along lines between chunks or tiles; 1 where there are none.
    seam : float
        Share of pixels that differ between two ways to cut the work; 0 where only one was run.
    """

    inside: float
    lines: float
    seam: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the contender may be ranked."""
        return min(self.inside, self.lines, 1 - self.seam) >= _AGREE

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def make_reference(case: Case) -> None:
    """The whole image read by rasterio, reduced by torch and predicted in one go.

    Writes ``reference-MODEL.npy`` and ``normalised.npy``, the image with a halo around it.
    """
    import torch

    image = np.full((len(BANDS), *(n + 2 * HALO for n in case.shape)), np.nan, np.float32)
    for number in range(len(BANDS)):
        scenes = torch.from_numpy(np.stack([_mosaic(case, date, number) for date in range(DATES)]))
        scenes[scenes == 0] = torch.nan
        image[number, HALO:-HALO, HALO:-HALO] = nanmedian(scenes[None])[0].numpy()
    seen = np.isfinite(image).any(0)[HALO:-HALO, HALO:-HALO]
    normalised = np.nan_to_num((image - np.float32(MEAN)) / np.float32(STD), nan=0.0)
    np.save(case.path / "normalised.npy", normalised)
    module, classes = plain_module(case.model_path), np.empty(case.shape, np.uint8)
    with torch.inference_mode():
        for row, col in windows(case):
            part = normalised[None, :, row : row + STRIDE + 2 * HALO, col : col + STRIDE + 2 * HALO]
            best = module(torch.from_numpy(part))[0].argmax(0) + 1
            classes[row : row + STRIDE, col : col + STRIDE] = best[HALO:-HALO, HALO:-HALO].numpy()
    classes[~seen] = NODATA
    np.save(case.path / f"reference-{case.model}.npy", classes)


def _mosaic(case: Case, date: int, band: int) -> npt.NDArray[np.float32]:
    import rasterio

    whole = np.empty(case.shape, np.float32)
    for row, col in np.ndindex(case.rows, case.cols):
        path = case.path / "scenes" / f"{row:02}_{col:02}_{date}_{BANDS[band]}.tif"
        top, left = row * case.scene, col * case.scene
        with rasterio.open(path) as dataset:
            whole[top : top + case.scene, left : left + case.scene] = dataset.read(1)
    return whole


def read_classes(out: Path) -> Classes:
    """What a contender wrote."""
    import zarr

    if (out / "classes.npy").exists():
        classes: Classes = np.load(out / "classes.npy")
        return classes
    path = out / "run" / "product.zarr" / "classification"
    if not path.exists():
        path = out / "classes.zarr" / "classification"
    array: Any = zarr.open_array(path, mode="r")
    return np.asarray(array[...], np.uint8).reshape(array.shape[-2:])


def compare(case: Case, classes: Classes, step: int, other: Classes | None = None) -> Agreement:
    """Against the reference, and against what the same contender made of other chunks."""
    reference: Classes = np.load(case.path / f"reference-{case.model}.npy")
    if classes.shape != reference.shape:
        return Agreement(0.0, 0.0, 1.0)
    inside = np.s_[HALO:-HALO, HALO:-HALO]
    same = (classes == reference)[inside]
    near = np.zeros(reference.shape, bool)
    for at in range(step, reference.shape[0], step):
        near[at - _BESIDE : at + _BESIDE] = True
    for at in range(step, reference.shape[1], step):
        near[:, at - _BESIDE : at + _BESIDE] = True
    along = same[near[inside]]
    seam = 0.0 if other is None else float((classes != other)[inside].mean())
    return Agreement(float(same.mean()), float(along.mean()) if along.size else 1.0, seam)
