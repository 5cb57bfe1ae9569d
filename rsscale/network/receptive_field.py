"""How far a network looks around a pixel, against the context that its windows give it.

A window's halo hides its edges only if no pixel of its core depends on what lies further away.
Where the network looks further, labels depend on where the windows lie, and window lines show.
"""

from __future__ import annotations

import logging
import re
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.geo.lattice import Lattice
from rsscale.model.artifacts import ARTIFACTS
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor, WindowBatch
from rsscale.network.scores import are_probabilities, class_scores

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("rsscale")

# Share of the scores' spread that rounding may move one by.
_ROUNDING = 1e-6
# Pixels along the edges of a window that are changed to see how far inside it matters.
_BEYOND = 64
_LEAST_STRIDE = 32
# Windows that are tried where the contract's tell too little, px; and steps of what is advised.
_WIDEST, _ROUND_UP = 1024, 16
# torch convolves smaller arrays by NNPACK (ConvParams::use_mkldnn in ATen/native/Convolution.cpp),
# whose transforms mix the rounding of all pixels of a block; larger ones pixel by pixel.
_LARGE = 20_480
_WRAPPED = re.compile(r"[a-z]+\((.+)\)")
_PIXEL_BY_PIXEL = ("pixel", "tempcnn", "ltae", "fusion")
# Each date by itself, with one encoder.
_SIAMESE = ("fc-siam-conc", "fc-siam-diff")
_CONVOLUTIONS = ("unet", "fc-ef", *_SIAMESE)


@dataclass(frozen=True)
class Reach:
    """How far a network looks around a pixel, px; ``at_least`` where it may look further."""

    pixels: int
    at_least: bool = False


def halo_advice(subject: str, lattice: Lattice, reach: Reach) -> str | None:
    """A line on a halo that is too small; None for one that is not.

    Parameters
    ----------
    subject : str
        What looks, the subject of the line.
    lattice : Lattice
    reach : Reach
    """
    if reach.pixels <= lattice.halo:
        return None
    far = f"{'at least ' if reach.at_least else ''}{reach.pixels} px"
    wide = "a larger halo" if reach.at_least else f"halo: {reach.pixels}"
    softer = "" if lattice.blend == "hann" else ", or soften the lines with blend: hann"
    return (
        f"{subject} looks {far} around a pixel, and its windows have a halo of {lattice.halo} px: "
        f"labels depend on where window lines lie; use {wide}{softer}"
    )


class _Seen:
    """Models that this process has looked at, while they live."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[int, weakref.ref[Any]] = {}

    def first_time(self, model: Any) -> bool:
        """Whether a model comes for the first time; never of one that can't be remembered."""
        with self._lock:
            known = self._models.get(id(model))
            if known is not None and known() is model:
                return False
            try:
                self._models[id(model)] = weakref.ref(model)
            except TypeError:
                return False
            self._models = {key: ref for key, ref in self._models.items() if ref() is not None}
            return True


_SEEN = _Seen()


def warn_of_context(model: Predictor, batch: int) -> None:
    """Log, once for a model in a process, that it looks beyond its halo, or returns probabilities.

    A model that says how far it looks (``reach``, px) is believed; any other is measured.

    Parameters
    ----------
    model : Predictor
    batch : int
        Windows that it sees at once.
    """
    if not _SEEN.first_time(model):
        return
    reach: int | None = getattr(model, "reach", None)
    try:
        looks = measured_reach(model, batch) if reach is None else Reach(reach)
    except Exception as error:  # noqa: BLE001 -- it has just predicted; this is a look beside it
        _log.debug("how far model %r looks can't be measured: %s", model.spec.name, error)
        return
    advice = halo_advice(f"model {model.spec.name!r}", model.spec.lattice, looks)
    if advice:
        _log.warning(advice)


def measured_reach(model: Predictor, batch: int = 1) -> Reach:
    """How far a model looks around a pixel, by two windows of random numbers that differ at edges.

    What depends on the difference lies within its reach. Windows have the contract's width; where
    all of one depends on its edges, wider ones are tried if the network takes them.

    Parameters
    ----------
    model : Predictor
    batch : int
        Windows that it sees at once.
    """
    lattice = model.spec.lattice
    if lattice.stride < _LEAST_STRIDE:
        return Reach(0)  # nothing can be told from windows of a few pixels
    beyond = min(_BEYOND, lattice.stride // 4)
    depth = _depth_of_edges(model, lattice.window, beyond, batch)
    if depth is not None and depth <= lattice.halo:
        return Reach(depth)
    width = lattice.window
    while depth is None and 2 * width <= max(_WIDEST, 2 * lattice.window):
        width *= 2
        try:
            depth = _depth_of_edges(model, width, beyond, batch)
        except Exception:  # noqa: BLE001 -- a network may raise anything for a size it doesn't take
            break
    if depth is None:
        return Reach(lattice.halo + 1, at_least=True)
    # What was seen depends on where windows lie on the network's coarser scales: somewhat more.
    return Reach(-(-(depth + _ROUND_UP // 2) // _ROUND_UP) * _ROUND_UP)


def _depth_of_edges(model: Predictor, width: int, beyond: int, batch: int) -> int | None:
    """How far inside a window scores depend on its outermost pixels; None for all of it."""
    import torch

    with torch.inference_mode():
        pair = _pair(model.spec.channels, width, beyond, model.device)
        scores, other = (_predicted(model, window, batch) for window in pair)
        # Along the edges there may be no result, which is NaN.
        moved = (scores - other).nan_to_num(0.0).abs().amax(dim=(0, 1)).cpu().float()
        depends = moved > _ROUNDING * float(scores[scores.isfinite()].float().std())
    _warn_of_probabilities(model, scores)
    inner = torch.arange(width)
    depth = torch.minimum(inner, inner.flip(0)) - beyond + 1  # of a row: 1 is the first inside
    depth = torch.minimum(depth[:, None], depth[None, :])
    if not bool(depends.any()):
        return 0
    deepest = int(depth[depends].max())
    return None if deepest >= int(depth.max()) else max(deepest, 0)


def _warn_of_probabilities(model: Predictor, scores: torch.Tensor) -> None:
    output = model.spec.output
    takes_scores = isinstance(output, ClassOutput) and output.activation == "softmax"
    if takes_scores and are_probabilities(scores):
        _log.warning(
            "model %r returns what looks like probabilities; softmax is applied to what it "
            "returns, so its confidences are too low: return the scores before softmax",
            model.spec.name,
        )


def _pair(
    channels: int, width: int, beyond: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two windows ``(1, C, H, W)`` that differ in the ``beyond`` px along their edges alone."""
    import torch

    random = torch.Generator().manual_seed(0)  # the caller's random numbers go on as they were
    window, other = (torch.randn(1, channels, width, width, generator=random) for _ in range(2))
    inner = slice(beyond, width - beyond)
    other[..., inner, inner] = window[..., inner, inner]
    return window.to(device), other.to(device)


def _predicted(model: Predictor, window: torch.Tensor, batch: int) -> torch.Tensor:
    """Scores of one window, in a batch of the size that the model is used with."""
    windows = window.new_zeros((batch, *window.shape[1:]))
    windows[0] = window[0]
    return class_scores(model, WindowBatch(model.spec, windows))[:1].clone()


def innermost(architecture: str) -> str:
    """The network inside others, by name: ``"unet"`` of ``"applicability(ensemble(unet))"``."""
    inside = _WRAPPED.fullmatch(architecture)
    return innermost(inside[1]) if inside else architecture


def reach_of(architecture: str, hyperparameters: Mapping[str, Any]) -> int | None:
    """How far a network that rsscale builds looks around a pixel, px; None for any other.

    Each scale ``s`` of the U-Net, and of networks with the same convolutions, has two 3-by-3
    convolutions on the way down and, but for the coarsest, two on the way up, each reaching
    ``2**s`` pixels; pooling and nearest upsampling move by less than one pixel of the coarser
    scale.
    """
    architecture = innermost(architecture)
    if architecture in _PIXEL_BY_PIXEL:
        return 0
    depth = hyperparameters.get("depth", 3)
    if architecture not in (*_CONVOLUTIONS, "utae") or not isinstance(depth, int) or depth < 1:
        return None
    if hyperparameters.get("encoder") is not None:  # of a library
        return None
    convolutions = sum(4 * 2**scale for scale in range(depth - 1)) + 2 * 2 ** (depth - 1)
    return int(convolutions + 2 ** (depth - 1) - 1)


def exact_reach(spec: ModelSpec, weights: Path, device: str) -> int | None:
    """How far a model looks such that pixels beyond can't change a result to the last bit, px.

    Nothing for estimators of single pixels. None where that is not known: for programs and ONNX,
    whatever their contract says; on a GPU, whose convolutions may go by transforms of larger
    blocks; for very small windows on the CPU; and for series, of which the whole window decides
    what observations are taken.
    """
    is_wrapped = innermost(spec.architecture) != spec.architecture
    if (
        any(model_input.series for model_input in spec.inputs)
        or spec.architecture == "utae"
        or is_wrapped
    ):
        return None
    artifact = ARTIFACTS.get(weights.suffix)
    if artifact is not None and artifact.by_pixel:
        return 0
    reach = reach_of(spec.architecture, spec.hyperparameters)
    if reach is None or weights.suffix != ".safetensors" or device != "cpu":
        return None
    if spec.architecture in _CONVOLUTIONS:
        depth, width = (spec.hyperparameters.get(k, d) for k, d in (("depth", 3), ("width", 16)))
        if not isinstance(depth, int) or not isinstance(width, int):
            return None  # building it says what is wrong
        seen_at_once = spec.channels // (2 if spec.architecture in _SIAMESE else 1)
        channels = min(seen_at_once, width / 2 ** (depth - 1))  # values a pixel, at the least
        if channels * spec.lattice.window**2 <= _LARGE:
            return None
    return reach
