"""Check what a detector returns for a window: boxes, labels and scores that can be used.

What breaks the contract is refused by name, so that it shows on the first window and not in a
country of wrong boxes: other keys, other shapes, no numbers, scores that are no probabilities,
labels of no class, boxes whose sides are the wrong way around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError
from rsscale.model.outputs import ObjectOutput
from rsscale.model.spec import ModelSpec

_ROUNDING = 1e-4  # of a score above 1


@dataclass(frozen=True)
class WindowObjects:
    """What a detector found in one window, as it returned it.

    Attributes
    ----------
    boxes : float64 array (n, 4) or (n, 5)
        ``x0, y0, x1, y1`` in pixels of the window; of oriented ones centre, width, height and
        degrees. Empty ``(0, 4)`` where corners are given.
    scores : float32 array (n,)
    numbers : int64 array (n,)
        Of the classes in the order of the contract, from 0.
    masks : object, optional
        Tensor or array ``(n, H, W)`` of outlines, where the network put it.
    corners : float64 array (n, 4, 2), optional
        ``x, y`` of oriented boxes.
    """

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.int64]
    masks: Any = None
    corners: npt.NDArray[np.float64] | None = None


def window_objects(returned: Any, spec: ModelSpec, size: int, subject: str) -> WindowObjects:
    """The objects of one window.

    Parameters
    ----------
    returned : object
        What a network returned for a batch of one window: a mapping, or a list of one. A leading
        dimension of 1, as of graphs of ONNX, may be there.
    spec : ModelSpec
        Of a model that finds objects.
    size : int
        Width of the window, px.
    subject : str
        What messages are about, the subject of a sentence.

    Raises
    ------
    ModelError
        Which says what was found and what to return.
    """
    output = spec.objects
    mapping = _mapping(returned, subject)
    place = "corners" if output.kind == "oriented" and "corners" in mapping else "boxes"
    needed = [place, "labels", "scores", *(["masks"] if output.kind == "outlines" else [])]
    missing = [key for key in needed if key not in mapping]
    if missing:
        raise ModelError(
            f"{subject} returns the keys {[str(key) for key in mapping]}, without {missing[0]!r}; "
            f"{output.kind} have {', '.join(needed)}"
            f"{_of_training(mapping)}"
        )
    scores = _array(mapping["scores"], 1)
    labels = _array(mapping["labels"], 1)
    places = _array(mapping[place], 3 if place == "corners" else 2)
    _check_shapes(places, scores, labels, output=output, place=place, subject=subject)
    _check_numbers(places, scores, output, subject)
    numbers = _numbers(labels, spec, subject)
    masks = _masks(mapping["masks"], len(scores), size, subject) if "masks" in needed else None
    is_box = place == "boxes"
    return WindowObjects(
        places.astype(np.float64) if is_box else np.empty((0, 4)),
        scores.astype(np.float32),
        numbers,
        masks,
        None if is_box else places.reshape(-1, 4, 2).astype(np.float64),
    )


def _mapping(returned: Any, subject: str) -> Mapping[str, Any]:
    if isinstance(returned, list | tuple) and len(returned) == 1:
        returned = returned[0]
    if isinstance(returned, Mapping):
        return returned
    kind = f"a {type(returned).__name__}"
    if isinstance(returned, list | tuple):
        kind = f"a {type(returned).__name__} of {len(returned)}"
    raise ModelError(
        f"{subject} returns {kind} for one window; a model that finds objects returns a mapping "
        "with boxes, labels and scores, or a list of one for each window"
    )


def _of_training(returned: Mapping[str, Any]) -> str:
    """What to say of losses, which torchvision returns in the mode of training."""
    losses = any("loss" in str(key) for key in returned)
    return ": these are losses; use network.eval()" if losses else ""


def _array(value: Any, dimensions: int) -> npt.NDArray[Any]:
    """Numbers on the host, without a leading dimension of one window."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = value.float() if value.is_floating_point() else value
        value = value.cpu().numpy()
    array = np.asarray(value)
    if array.ndim == dimensions + 1 and len(array) == 1:
        array = array[0]
    return array


def _check_shapes(
    places: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    output: ObjectOutput,
    place: str,
    subject: str,
) -> None:
    count = len(scores) if scores.ndim else 0
    wanted: Sequence[tuple[int, ...]] = [(count, 5 if output.kind == "oriented" else 4)]
    if place == "corners":
        wanted = [(count, 4, 2), (count, 8)]
    if places.shape in wanted and scores.shape == labels.shape == (count,):
        return
    hint = ""
    if places.ndim == 2 and places.shape[-1] > 5:
        hint = "; scores and labels are tensors of their own"
    elif places.ndim == 2 and places.shape[-1] == 5:
        hint = "; boxes with an angle are ObjectOutput('oriented')"
    raise ModelError(
        f"{subject} returns {place} {places.shape}, labels {labels.shape} and scores "
        f"{scores.shape}; expected {str(wanted[0]).replace(str(count), 'n', 1)}, (n,) and "
        f"(n,){hint}"
    )


def _check_numbers(
    places: npt.NDArray[Any], scores: npt.NDArray[Any], output: ObjectOutput, subject: str
) -> None:
    if not len(scores):
        return
    numbers = np.isfinite(places.reshape(len(scores), -1)).all(axis=1) & np.isfinite(scores)
    if not numbers.all():
        bad = int((~numbers).sum())
        raise ModelError(
            f"{subject} returns no number (NaN or infinite) for the box or score of {bad} of "
            f"{len(scores)} detections; train it anew with a smaller learning rate, or use "
            "precision float32"
        )
    if scores.min() < 0 or scores.max() > 1 + _ROUNDING:
        raise ModelError(
            f"{subject} returns scores from {scores.min():g} to {scores.max():g}; expected 0 to 1: "
            "apply sigmoid or softmax in the network"
        )
    if places.ndim != 2 or places.shape[1] == 8:  # corners
        return
    sides = places[:, 2:4] if output.kind == "oriented" else places[:, 2:] - places[:, :2]
    if (inverted := int((sides < 0).any(axis=1).sum())) > 0:
        first = ", ".join(f"{v:g}" for v in places[(sides < 0).any(axis=1)][0])
        expected = (
            "x and y of the centre, width and height of 0 or more, degrees"
            if output.kind == "oriented"
            else "x0, y0, x1, y1 with x0 <= x1 and y0 <= y1; centres or widths are converted by "
            "torchvision.ops.box_convert"
        )
        raise ModelError(
            f"{subject} returns {inverted} of {len(places)} boxes the wrong way around, such as "
            f"({first}); expected {expected}"
        )


def _numbers(labels: npt.NDArray[Any], spec: ModelSpec, subject: str) -> npt.NDArray[np.int64]:
    """Numbers of classes from labels."""
    first, count = spec.objects.first_label, len(spec.classes)
    if labels.dtype.kind not in "iu":
        raise ModelError(f"{subject} returns labels of type {labels.dtype}; expected integers")
    others = sorted({*labels.tolist()} - {*range(first, first + count)})
    if others:
        hint = ""
        if others == [0]:
            hint = ", and 0 is the background: leave it out, or say ObjectOutput(first_label=0)"
        raise ModelError(
            f"{subject} returns the label {others[0]}; its contract has {count} "
            f"class{'es' if count > 1 else ''}, labels {first} to {first + count - 1}{hint}"
        )
    numbers: npt.NDArray[np.int64] = labels.astype(np.int64) - first
    return numbers


def _masks(masks: Any, count: int, size: int, subject: str) -> Any:
    """Masks ``(n, H, W)`` where they are; they may be large."""
    shape = tuple(masks.shape)
    for wanted in ((count, 1, size, size), (1, count, size, size)):
        if shape == wanted and len(wanted) == 4:
            return masks.reshape(count, size, size)
    if len(shape) == 5 and shape == (1, count, 1, size, size):
        return masks.reshape(count, size, size)
    if shape != (count, size, size):
        raise ModelError(
            f"{subject} returns masks {shape} for {count} boxes; expected (n, 1, {size}, {size}) "
            f"or (n, {size}, {size}), as wide as the window"
        )
    return masks
