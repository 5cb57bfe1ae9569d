"""How far a network looks around a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsscale.model.spec import ModelSpec

# torch convolves smaller arrays by NNPACK (ConvParams::use_mkldnn in ATen/native/Convolution.cpp),
# whose transforms mix the rounding of all pixels of a block; larger ones pixel by pixel.
_LARGE = 20_480


def reach_of(architecture: str, hyperparameters: Mapping[str, Any]) -> int | None:
    """How far a network that rsscale builds looks around a pixel, px; None for any other.

    For the U-Net each scale ``s`` has two 3-by-3 convolutions on the way down and, but for the
    coarsest, two on the way up, each reaching ``2**s`` pixels; pooling and nearest upsampling
    move by less than one pixel of the coarser scale.
    """
    if architecture == "pixel":
        return 0
    depth = hyperparameters.get("depth", 3)
    if architecture != "unet" or not isinstance(depth, int) or depth < 1:
        return None
    convolutions = sum(4 * 2**scale for scale in range(depth - 1)) + 2 * 2 ** (depth - 1)
    return int(convolutions + 2 ** (depth - 1) - 1)


def exact_reach(spec: ModelSpec, weights: Path, device: str) -> int | None:
    """How far a model looks such that pixels beyond can't change a result to the last bit, px.

    None where that is not known: for programs (``.pt2``), whatever their contract says; on a GPU,
    whose convolutions may go by transforms of larger blocks; and for very small windows on the CPU.
    """
    reach = reach_of(spec.architecture, spec.hyperparameters)
    if reach is None or weights.suffix != ".safetensors" or device != "cpu":
        return None
    if spec.architecture == "unet":
        depth, width = (spec.hyperparameters.get(k, d) for k, d in (("depth", 3), ("width", 16)))
        if not isinstance(depth, int) or not isinstance(width, int):
            return None  # building it says what is wrong
        channels = min(spec.channels, width / 2 ** (depth - 1))  # values a pixel, at the least
        if channels * spec.lattice.window**2 <= _LARGE:
            return None
    return reach
