"""Check what a network returns where it is used: numbers of all channels for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rsscale.errors import ModelError
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import Predictor, WindowBatch

if TYPE_CHECKING:
    import torch

_SIGMOID = "the one score of a sigmoid is said with ClassOutput(activation='sigmoid')"


def class_scores(model: Predictor, windows: WindowBatch) -> torch.Tensor:
    """The numbers of a model for windows: ``(N, output channels, H, W)``, whatever it returns.

    Raises
    ------
    ModelError
        When it returns something else.
    """
    scores: Any = model(windows.given)
    check_scores(scores, model.spec, windows, f"model {model.spec.name!r}")
    tensor: torch.Tensor = scores
    return tensor


def check_scores(scores: Any, spec: ModelSpec, windows: WindowBatch, subject: str) -> None:
    """Refuse what is not a floating point tensor of scores for windows.

    Parameters
    ----------
    scores : object
        What a network returned.
    spec : ModelSpec
    windows : WindowBatch
        What it was given.
    subject : str
        What the message is about.

    Raises
    ------
    ModelError
        Which says what was found and what to return.
    """
    import torch

    count, _, height, width = windows.channels.shape
    expected = (count, spec.output_channels, height, width)
    noun = "class scores" if isinstance(spec.output, ClassOutput) else "numbers"
    if not isinstance(scores, torch.Tensor):
        raise ModelError(
            f"{subject} returns {_container(scores)}; return the {noun} alone, one tensor of "
            f"the shape {expected}, or name its place: ResultLayout(select=...)"
        )
    shape = tuple(scores.shape)
    if shape != expected:
        many = "one window" if count == 1 else f"{count} windows"
        raise ModelError(
            f"{subject} returns {shape} for {many}, expected {expected}, as (windows, classes, "
            f"rows, columns); {_remedy(shape, expected)}"
        )
    if not scores.is_floating_point():
        raise ModelError(
            f"{subject} returns numbers of type {scores.dtype}; return class scores before "
            "softmax, which are floating point numbers, and not classes"
        )


def check_classes_to_map(spec: ModelSpec) -> None:
    """Refuse a model of a single class, of which softmax would say 100 %, and one of objects.

    Raises
    ------
    ModelError
    """
    spec.check_maps()
    if isinstance(spec.output, ClassOutput) and len(spec.classes) < 2:
        raise ModelError(
            f"model {spec.name!r} has one class, {spec.classes[0].name!r}, which softmax would "
            f"map everywhere at 100 %; name both classes: {_SIGMOID}. Numbers that are no "
            "classes have an output of values: ModelSpec(output=ValueOutput(...))"
        )


def are_probabilities(scores: torch.Tensor) -> bool:
    """Whether scores ``(N, K, H, W)`` look as if softmax had been applied already."""
    flat = scores.float()
    fractions = bool(((flat > 0) & (flat < 1)).all())  # never of numbers that are not there
    return fractions and bool(((flat.sum(dim=1) - 1).abs() < 1e-3).all())


def _container(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {[str(key) for key in value]}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _remedy(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    count, classes, height, width = expected
    if shape == (count, height, width, classes):
        return "classes come second: use .permute(0, 3, 1, 2)"
    if len(shape) != 4:
        return "return a score for each class and pixel, before argmax or squeeze"
    if shape[1] == 1 and classes == 2:
        return _SIGMOID
    if shape[1] != classes:
        return f"return {classes} channels, one for each class, in the order of the classes"
    if shape[2:] < (height, width):
        return (
            "pad the convolutions (padding='same'), or upsample to the window's size with "
            "torch.nn.functional.interpolate"
        )
    return "downsample to the window's size"
