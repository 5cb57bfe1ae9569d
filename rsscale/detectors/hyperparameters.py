"""What a detector is made with: the arguments that contracts and recipes have for each by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from torch import nn

from rsscale.networks.inputs import NetworkInput

ANCHORS = (8, 16, 32, 64)
"""Widths of the objects that the levels begin with, px, from the finest level on."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """Of every detector.

    Attributes
    ----------
    backbone : str
        ``"small"``, ``"resnet18"``, ``"resnet34"``, ``"resnet50"`` or ``"resnet101"``.
    width : int
        Channels of a level.
    norm : str
        ``"group"``, ``"batch"`` or ``"frozen"``.
    most : int
        Objects of a window at most; torchvision's own 100 is too few for trees.
    least_score : float
        What scores less is not returned at all.
    nms : float
        Intersection over union from which two boxes of a class in one window are one object.
    """

    backbone: str = "resnet18"
    width: int = 128
    norm: str = "group"
    most: int = 300
    least_score: float = 0.05
    nms: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Anchored(Common):
    """Of those that begin with anchors.

    Attributes
    ----------
    anchors : sequence of float
        Width of the square that each level begins with, px, finest first: about the sizes of the
        objects.
    shapes : sequence of float
        Height over width of the boxes that each square is also tried as.
    """

    anchors: Sequence[float] = ANCHORS
    shapes: Sequence[float] = (0.5, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class TwoStage(Anchored):
    """Of those that propose objects first.

    Attributes
    ----------
    representation : int
        Numbers that an object is described by.
    """

    representation: int = 512


@dataclass(frozen=True, kw_only=True)
class AnchorFree(Common):
    """Of those without anchors.

    Attributes
    ----------
    levels : int
        The first takes objects up to about 64 px, each further one up to twice as many, the last
        one all that are larger.
    """

    levels: int = len(ANCHORS)


H = TypeVar("H", bound=Common)


@dataclass(frozen=True)
class DetectorMaker(Generic[H]):
    """Makes a detector of a name: ``maker(inputs, outputs, **hyperparameters)``.

    Attributes
    ----------
    make : callable
        ``make(inputs, outputs, how)``.
    settings : type
        Of ``how``; its fields are the hyperparameters.
    """

    make: Callable[[Sequence[NetworkInput], int, H], nn.Module]
    settings: type[H]

    def __call__(
        self, inputs: Sequence[NetworkInput], outputs: int, **hyperparameters: Any
    ) -> nn.Module:
        """The detector, with random weights."""
        return self.make(inputs, outputs, self.settings(**hyperparameters))

    @property
    def names(self) -> list[str]:
        """Of the hyperparameters."""
        return [field.name for field in fields(self.settings)]

    @property
    def __signature__(self) -> inspect.Signature:
        """As of a function with the hyperparameters as arguments, which have defaults."""
        inputs, outputs, _ = inspect.signature(self.__call__).parameters.values()
        named = inspect.signature(self.settings).parameters.values()
        return inspect.Signature([inputs, outputs, *named])
