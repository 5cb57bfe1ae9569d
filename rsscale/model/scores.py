"""Check what a network returns where it is used: class scores, of all classes, for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rsscale.errors import ModelError
from rsscale.model.spec import ModelSpec, Predictor

if TYPE_CHECKING:
    import torch

_SIGMOID = (
    "of the one score s of a sigmoid return torch.cat([torch.zeros_like(s), s], dim=1) with two "
    "classes, whose softmax is the sigmoid"
)


def class_scores(model: Predictor, windows: torch.Tensor) -> torch.Tensor:
    """The scores of a model for windows ``(N, C, H, W)``: ``(N, K, H, W)``, whatever it returns.

    Raises
    ------
    ModelError
        When it returns something else.
    """
    scores: Any = model(windows)
    check_scores(scores, model.spec, windows, f"model {model.spec.name!r}")
    found: torch.Tensor = scores
    return found


def check_scores(scores: Any, spec: ModelSpec, windows: torch.Tensor, what: str) -> None:
    """Refuse what is not a floating point tensor of scores for windows.

    Parameters
    ----------
    scores : object
        What a network returned.
    spec : ModelSpec
    windows : Tensor
        What it was given, ``(N, C, H, W)``.
    what : str
        What the message is about.

    Raises
    ------
    ModelError
        Which says what was found and what to return.
    """
    import torch

    count, _, height, width = windows.shape
    expected = (count, len(spec.classes), height, width)
    if not isinstance(scores, torch.Tensor):
        raise ModelError(
            f"{what} returns {_container(scores)}; return the class scores alone, one tensor of "
            f"the shape {expected}"
        )
    found = tuple(scores.shape)
    if found != expected:
        many = "one window" if count == 1 else f"{count} windows"
        raise ModelError(
            f"{what} returns {found} for {many}, expected {expected}: classes and size of its "
            f"contract; {_remedy(found, expected)}"
        )
    if not scores.is_floating_point():
        raise ModelError(
            f"{what} returns numbers of type {scores.dtype}; return class scores before softmax, "
            "which are floating point numbers, and not classes"
        )


def check_classes_to_map(spec: ModelSpec) -> None:
    """Refuse a model of a single class: softmax would say 100 % of it everywhere.

    Raises
    ------
    ModelError
    """
    if len(spec.classes) < 2:
        raise ModelError(
            f"model {spec.name!r} has one class, {spec.classes[0].name!r}, which softmax would "
            f"map everywhere at 100 %; give it two classes: {_SIGMOID}. Numbers that are no "
            "classes are mapped with rsscale.apply"
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


def _remedy(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    count, classes, height, width = expected
    if found == (count, height, width, classes):
        return "classes come second: use .permute(0, 3, 1, 2)"
    if len(found) != 4:
        return "return a score for each class and pixel, before argmax or squeeze"
    if found[1] == 1 and classes == 2:
        return _SIGMOID
    if found[1] != classes:
        return f"its contract has {classes} classes, one channel each, in their order"
    if found[2:] < (height, width):
        return (
            "pad the convolutions (padding='same'), or upsample to the window's size with "
            "torch.nn.functional.interpolate"
        )
    return "downsample to the window's size"
