"""Detectors whose results are easily had in another way, and images with objects of known place."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from odc.geo.xr import xr_coords
from scipy import ndimage
from torch import nn

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inference.stack import InputStack
from rsscale.learn.models import Model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ObjectOutput

GRID = Grid("EPSG:32631", 10)
INPUT = ModelInput("s2", ("red", "nir"), ("summer",), (0.0, 0.0), (1.0, 1.0))
CLASSES = (LandClass(3, "pond", "#1f78b4"), LandClass(9, "shed", "#e31a1c"))


class BlobDetector(nn.Module):
    """Finds pieces of bright pixels exactly: ponds are bright in red, sheds in nir.

    The score is the brightness of the piece, the mask its pixels.
    """

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [self._found(image.numpy()) for image in images]

    def _found(self, image: npt.NDArray[np.float32]) -> dict[str, torch.Tensor]:
        boxes, labels, scores, masks = [], [], [], []
        for number, band in enumerate(image):
            pieces, _ = ndimage.label(band > 0)
            for piece, (rows, cols) in enumerate(ndimage.find_objects(pieces), 1):
                mask = pieces == piece
                boxes.append([cols.start, rows.start, cols.stop, rows.stop])
                labels.append(number + 1)
                scores.append(float(band[mask].max()))
                masks.append(mask)
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
            "masks": torch.tensor(np.array(masks, np.float32).reshape(-1, 1, *image.shape[1:])),
        }


class PeakDetector(nn.Module):
    """Finds a box of 4 by 4 px at the brightest pixel of the first band; torch can export it."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        band = images[0, 0]
        place = band.flatten().argmax()
        row, col = place // band.shape[1], place % band.shape[1]
        box = torch.stack([col - 2, row - 2, col + 2, row + 2]).float()
        return box[None], torch.ones(1, dtype=torch.int64), band.max()[None].clamp(0, 1)


class Named(nn.Module):
    """What another network returns, by the names of a contract."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        boxes, labels, scores = self.inner(images)
        return [{"boxes": boxes, "labels": labels, "scores": scores}]


class Returns(nn.Module):
    """Returns the same for each window."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> Any:
        del images
        return self.value


def detector(
    network: Any, kind: Any = "boxes", stride: int = 48, halo: int = 16, **output: Any
) -> Model:
    """A detector of two classes in two bands."""
    return Model.of(
        network,
        inputs=[INPUT],
        classes=CLASSES,
        output=ObjectOutput(kind, **output),
        name="blobs",
        stride=stride,
        halo=halo,
    )


def image(
    box: PixelBox,
    ponds: Sequence[tuple[PixelBox, float]] = (),
    sheds: Sequence[tuple[PixelBox, float]] = (),
    unseen: Sequence[PixelBox] = (),
) -> xr.DataArray:
    """A composite with rectangles of some brightness; what is unseen is NaN."""
    values = np.zeros((1, 2, *box.shape), np.float32)
    for band, things in enumerate((ponds, sheds)):
        for place, brightness in things:
            inside = place & box
            if not inside.empty:
                values[0, band][inside.slices(box)] = brightness
    for place in unseen:
        values[(0, slice(None), *(place & box).slices(box))] = np.nan
    coords: dict[Any, Any] = {str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()}
    coords |= {"time": ["summer"], "band": ["red", "nir"]}
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords)


def stack(model: Model, box: PixelBox, **things: Any) -> InputStack:
    """An image as a model's windows are cut from it."""
    return InputStack({"s2": image(box, **things)}, model.spec, box)


def make_boxes(channels: int, classes: int, size: int = 4) -> nn.Module:
    """A factory as a contract names it: a detector with one weight."""
    del channels, classes
    return Weighted(size)


class Weighted(nn.Module):
    """Finds a box of some size at the window's corner; its weight is the score."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.score = nn.Parameter(torch.tensor([0.75]))

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        box = torch.tensor([[0.0, 0.0, self.size, self.size]])
        one = {"boxes": box, "labels": torch.tensor([2]), "scores": self.score}
        return [one for _ in images]
