"""Outputs of a network: classes, values, an embedding, or objects; the layers that each becomes.

Nothing here needs torch. What is done to the numbers of a network lies in
:mod:`rsscale.inference.heads`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rsscale.errors import ModelError, nearest
from rsscale.layers import Axis, Layer
from rsscale.legend.classes import LandClass, class_attributes

Activation = Literal["softmax", "sigmoid", "none"]
Companding = Literal["linear", "square"]
ObjectKind = Literal["boxes", "outlines", "oriented"]
# Bits of a uint16, whose 65535 is nodata.
MOST_BITS = 15

OBSERVATIONS = Layer(
    "observations",
    overview="mean",
    attributes={"long_name": "number of clear observations"},
)
"""Clear observations over all inputs and times, which every map may have."""


CALIBRATION = "calibration"
"""The attribute of a layer of probabilities that says so."""
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class ConformalSets:
    """Sets of classes that hold the true one with a chosen probability: split conformal prediction.

    A class is in the set of a pixel when its probability is at least the class's threshold (least
    ambiguous sets, Sadinle, Lei & Wasserman 2019, https://arxiv.org/abs/1609.00451), and the most
    probable class always is.

    Attributes
    ----------
    level : float
        Share of pixels, from 0 to 1, whose set holds the true class.
    thresholds : tuple of float
        Of each class, in their order; equal ones for a level over all classes together.
    """

    level: float
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not all(0 <= t <= 1 for t in self.thresholds):
            raise ModelError(
                f"conformal sets have the level {self.level} and the thresholds "
                f"{list(self.thresholds)}; expected a share between 0 and 1, and probabilities"
            )

    def layers(self, classes: Sequence[LandClass]) -> tuple[Layer, ...]:
        """``set_size``, and ``class_set`` as bits, or by class where there are many."""
        level = {"conformal_level": self.level}
        size = Layer(
            "set_size",
            overview="mean",
            attributes={"long_name": "classes in the conformal set", **level},
        )
        if len(classes) > MOST_BITS:
            axis = Axis("class", tuple(c.value for c in classes))
            described = {"long_name": "whether a class is in the conformal set", **level}
            return size, Layer("class_set", axis=axis, overview="none", attributes=described)
        attributes = {
            "long_name": "classes in the conformal set, as bits",
            "flag_masks": [1 << number for number in range(len(classes))],
            "flag_meanings": " ".join(c.name.replace(" ", "_") for c in classes),
            **level,
        }
        return size, Layer("class_set", "uint16", 65535, overview="none", attributes=attributes)


@dataclass(frozen=True)
class ClassOutput:
    """Scores of classes, which become labels and their probabilities.

    Attributes
    ----------
    activation : str
        What turns the network's numbers into probabilities. ``"softmax"``: a score for each class.
        ``"sigmoid"``: one score, of the second of two classes. ``"none"``: the network returns
        probabilities of all classes, as decision trees do.
    temperature : float
        Scores are divided by it before softmax or sigmoid, which calibrates probabilities and
        changes no label (Guo et al. 2017, https://arxiv.org/abs/1706.04599).
    conformal : ConformalSets, optional
        How sets of classes are made, which become the layers ``set_size`` and ``class_set``.
    """

    activation: Activation = "softmax"
    temperature: float = 1.0
    conformal: ConformalSets | None = None

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise ModelError(
                f"activation is {self.activation!r}; expected one of "
                f"{', '.join(get_args(Activation))}{nearest(self.activation, get_args(Activation))}"
            )
        if not 0 < self.temperature < math.inf:
            raise ModelError(f"temperature is {self.temperature}; expected a positive number")
        if self.activation == "none" and self.temperature != 1.0:
            raise ModelError(
                f"temperature is {self.temperature} for a model that returns probabilities; scores "
                "are divided by it, and there are none: use activation softmax or sigmoid"
            )

    def channels(self, classes: Sequence[LandClass]) -> int:
        """Numbers that the network returns for a pixel."""
        return 1 if self.activation == "sigmoid" else len(classes)

    def check(self, name: str, classes: Sequence[LandClass]) -> None:
        """Refuse classes that do not fit."""
        if not classes:
            raise ModelError(f"model {name!r} needs at least one class")
        if self.activation == "sigmoid" and len(classes) != 2:
            raise ModelError(
                f"model {name!r} has {len(classes)} classes and a sigmoid; the one score of a "
                "sigmoid tells two classes apart: name both, the one that it scores second"
            )
        if self.conformal and len(self.conformal.thresholds) != len(classes):
            raise ModelError(
                f"model {name!r} has {len(classes)} classes and conformal thresholds for "
                f"{len(self.conformal.thresholds)}; expected one for each class"
            )

    def layers(self, classes: Sequence[LandClass]) -> tuple[Layer, ...]:
        """``classification``, ``confidence`` and ``probability``; conformal sets if there are."""
        percent = {"units": "percent"}
        sets = self.conformal.layers(classes) if self.conformal else ()
        return (
            Layer(
                "classification",
                overview="mode",
                attributes={"long_name": "land cover class", **class_attributes(classes)},
            ),
            Layer(
                "confidence",
                overview="mean",
                attributes={"long_name": "probability of the class", **percent},
            ),
            Layer(
                "probability",
                axis=Axis("class", tuple(c.value for c in classes)),
                overview="mean",
                attributes={"long_name": "probability of each class", **percent},
            ),
            *sets,
        )


@dataclass(frozen=True)
class ValueOutput:
    """Quantities: regression.

    Attributes
    ----------
    quantities : tuple of Layer
        One for each channel of the network, in order: name, type, nodata, and the scale and offset
        by which integers stand for values. The network returns physical values. What lies outside
        of an integer layer's range becomes its nearest end.
    """

    quantities: tuple[Layer, ...]

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.quantities]
        if not names:
            raise ModelError("a model of values needs at least one layer to write them to")
        if len({*names, OBSERVATIONS.name}) < len(names) + 1:
            raise ModelError(
                f"the values of a model are called {names}; each needs a name of its own, and "
                f"{OBSERVATIONS.name!r} counts clear observations"
            )
        for layer in self.quantities:
            if layer.axis is not None:
                raise ModelError(
                    f"the value {layer.name!r} has the axis {layer.axis.name!r}; a channel of the "
                    "network is one layer: name each, or declare an embedding"
                )

    def channels(self, classes: Sequence[LandClass]) -> int:
        """Numbers that the network returns for a pixel."""
        del classes
        return len(self.quantities)

    def check(self, name: str, classes: Sequence[LandClass]) -> None:
        """Refuse classes: values are none."""
        _check_no_classes(name, classes, "values")

    def layers(self, classes: Sequence[LandClass]) -> tuple[Layer, ...]:
        """A layer for each quantity."""
        del classes
        return self.quantities


QUANTIZATION = {
    "linear": "value = stored / 127",
    "square": "value = sign(stored) * (abs(stored) / 127.5) ** 2",
}
"""Formulas of the values of int8 embeddings, as the layer's attribute ``quantization`` has them."""


@dataclass(frozen=True)
class EmbeddingOutput:
    """A vector of features for each pixel, such as of a foundation model.

    Attributes
    ----------
    size : int
        Features, and channels of the network.
    dtype : str
        ``"int8"`` or ``"float32"``.
    quantization : str
        How int8 stands for a feature from -1 to 1: ``"linear"``, 127ths, which every reader that
        knows ``scale_factor`` decodes; or ``"square"``, ``sign(v) (|v| / 127.5)²``, finer near 0,
        as AlphaEarth embeddings are published. It is written into the layer's attributes.
    unit_length : bool
        Whether vectors are scaled to length 1 before they are written. Int8 holds -1 to 1, so that
        features must lie there; those that do not become the nearest end.
    name : str
    """

    size: int
    dtype: Literal["int8", "float32"] = "int8"
    quantization: Companding = "linear"
    unit_length: bool = True
    name: str = "embedding"

    def __post_init__(self) -> None:
        if self.size < 1 or self.dtype not in ("int8", "float32"):
            raise ModelError(
                f"an embedding has {self.size} features of type {self.dtype!r}; expected at least "
                "one, of int8 or float32"
            )
        if self.quantization not in get_args(Companding):
            raise ModelError(
                f"quantization is {self.quantization!r}; expected "
                f"{' or '.join(get_args(Companding))}"
                f"{nearest(self.quantization, get_args(Companding))}"
            )

    def channels(self, classes: Sequence[LandClass]) -> int:
        """Numbers that the network returns for a pixel."""
        del classes
        return self.size

    def check(self, name: str, classes: Sequence[LandClass]) -> None:
        """Refuse classes: features are none."""
        _check_no_classes(name, classes, "an embedding")

    def layers(self, classes: Sequence[LandClass]) -> tuple[Layer, ...]:
        """One layer with an axis of features."""
        del classes
        is_int8 = self.dtype == "int8"
        attributes = {"long_name": "embedding"}
        if is_int8:
            attributes |= {"quantization": QUANTIZATION[self.quantization]}
        return (
            Layer(
                self.name,
                dtype=self.dtype,
                nodata=-128 if is_int8 else math.nan,
                axis=Axis("feature", tuple(range(self.size))),
                scale=1 / 127 if is_int8 and self.quantization == "linear" else 1.0,
                overview="none",
                attributes=attributes,
            ),
        )


@dataclass(frozen=True)
class ObjectOutput:
    """Objects: boxes with classes and scores, as detectors return them; rows, and no layers.

    A network returns for each window a mapping (a list of them, one for each window of a batch):
    ``boxes (n, 4)`` ``x0, y0, x1, y1`` in pixels of the window, whose left upper corner is 0, 0;
    ``labels (n,)`` integers; ``scores (n,)`` from 0 to 1. That is what the detectors of torchvision
    return.

    Attributes
    ----------
    kind : str
        What an object is. ``"boxes"``: its box. ``"outlines"``: where ``masks`` ``(n, 1, H, W)`` or
        ``(n, H, W)``, from 0 to 1, are above ``mask_threshold``; of several pieces the largest.
        ``"oriented"``: a box that is turned, ``boxes (n, 5)`` with centre, width, height and angle
        in degrees, counterclockwise in the picture as in torchvision (``CXCYWHR``); or
        ``corners (n, 4, 2)`` in place of boxes.
    score_threshold : float
        Detections below it are left out.
    iou : float
        Intersection over union from which two detections of a class are the same object, of which
        the one with the higher score is kept.
    most : int
        Detections of a window that are kept, those with the highest scores.
    mask_threshold : float
        Of outlines.
    first_label : int
        Label of the first class, 1 for torchvision, whose label 0 is the background; the others
        follow in the order of the contract's classes.
    """

    kind: ObjectKind = "boxes"
    score_threshold: float = 0.5
    iou: float = 0.5
    most: int = 300
    mask_threshold: float = 0.5
    first_label: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(ObjectKind):
            raise ModelError(
                f"objects are {self.kind!r}; expected one of {', '.join(get_args(ObjectKind))}"
                f"{nearest(self.kind, get_args(ObjectKind))}"
            )
        for name in ("score_threshold", "iou", "mask_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelError(
                    f"{name} of objects is {getattr(self, name)}; expected a number from 0 to 1"
                )
        if self.most < 1 or self.first_label not in (0, 1):
            raise ModelError(
                f"objects have at most {self.most} in a window and the first label "
                f"{self.first_label}; expected at least 1, and 0 or 1"
            )

    def channels(self, classes: Sequence[LandClass]) -> int:
        """Classes: what the last layers of a detector are made for, without the background."""
        return len(classes)

    def check(self, name: str, classes: Sequence[LandClass]) -> None:
        """Refuse a model of no class."""
        if not classes:
            raise ModelError(f"model {name!r} finds objects and needs at least one class for them")

    def layers(self, classes: Sequence[LandClass]) -> tuple[Layer, ...]:
        """None: objects are rows."""
        del classes
        return ()


Output = ClassOutput | ValueOutput | EmbeddingOutput | ObjectOutput
"""What the numbers of a network are."""


@dataclass(frozen=True)
class ResultLayout:
    """Which of the things that a network returns is its result, and where it lies in the window.

    Attributes
    ----------
    select : str, int or None
        Key or position of the result, where a network returns a mapping or a sequence.
    margin : int
        Pixels on each side of the window for which there is no result, as of convolutions without
        padding.
    factor : int
        Pixels of the window, along each side, for one of the result; each takes the numbers of the
        result's pixel that it lies in.
    """

    select: str | int | None = None
    margin: int = 0
    factor: int = 1

    def __post_init__(self) -> None:
        if self.margin < 0 or self.factor < 1:
            raise ModelError(
                f"a result has the margin {self.margin} and the factor {self.factor}; expected "
                "pixels, 0 or more, and a whole number from 1"
            )

    def width(self, window: int) -> int:
        """Width of the result of a window, in its own pixels."""
        return (window - 2 * self.margin) // self.factor


def _check_no_classes(name: str, classes: Sequence[LandClass], noun: str) -> None:
    if classes:
        raise ModelError(
            f"model {name!r} returns {noun} and has the classes {[c.name for c in classes]}; leave "
            "them out, or declare an output of classes"
        )
