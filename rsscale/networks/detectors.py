"""Detectors of torchvision for windows of any number of channels, with random weights.

Windows go in as they are: values are scaled by the contract of a model, and nothing is resized
(torchvision would bring every image to 800 px and subtract the means of ImageNet). What they are
given and return is torchvision's: a mapping for each window with ``boxes (n, 4)`` in pixels of
the window, ``labels (n,)`` from 1, ``scores (n,)`` and, of Mask R-CNN, ``masks (n, 1, H, W)``; in
the mode of training, with ``targets``, a mapping of losses.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from rsscale.errors import ModelError, nearest
from rsscale.networks.inputs import NetworkInput, channels_of
from rsscale.networks.pyramids import FINEST, pooled_objects, pyramid, torchvision

ANCHORS = (8, 16, 32, 64)
"""Widths of the objects that the levels begin with, px, from the finest level on."""
_SHAPES = (0.5, 1.0, 2.0)
_MOST, _LEAST_SCORE, _NMS = 300, 0.05, 0.5
_POOLED, _MASK_POOLED = 7, 14
_DIVISIBLE = 32

Targets = Sequence[Mapping[str, torch.Tensor]]
Detected = list[dict[str, torch.Tensor]]


class Detector(nn.Module):
    """A detector of torchvision that takes a batch of windows.

    Parameters
    ----------
    inner : torch.nn.Module
        Made for windows as they are.
    label_shift : int
        What is added to its labels, so that the first class has label 1.
    """

    def __init__(self, inner: nn.Module, label_shift: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self._shift = label_shift

    def forward(self, images: torch.Tensor, targets: Targets | None = None) -> Any:
        """What is found in windows ``(N, C, H, W)``, or the losses while it is trained.

        Parameters
        ----------
        images : Tensor
            ``(N, C, H, W)`` float32, scaled.
        targets : sequence of mapping, optional
            Of each window ``boxes (n, 4)`` float32, ``labels (n,)`` int64 from 1, and of
            Mask R-CNN ``masks (n, H, W)`` uint8; for training.

        Returns
        -------
        list of dict, or dict of losses
        """
        given = None
        if targets is not None:
            given = [{**t, "labels": t["labels"] - self._shift} for t in targets]
        found = self.inner(list(images.unbind(0)), given)
        if self._shift and isinstance(found, list):
            found = [{**window, "labels": window["labels"] + self._shift} for window in found]
        return found


def build_detector(
    architecture: str, channels: int, classes: int, hyperparameters: Mapping[str, Any]
) -> Detector:
    """A detector by name, with random weights.

    Parameters
    ----------
    architecture : str
        ``"fasterrcnn"``, ``"maskrcnn"``, ``"retinanet"`` or ``"fcos"``.
    channels : int
        Of a window.
    classes : int
        Without the background.
    hyperparameters : mapping
        Arguments of the function of that name, such as ``backbone``, ``anchors`` and ``width``.

    Raises
    ------
    ModelError
        For an unknown name, or a hyperparameter that does not fit.
    MissingExtraError
        When torchvision is not installed.
    """
    if architecture not in DETECTORS:
        raise ModelError(
            f"architecture {architecture!r} is no detector; there are {', '.join(DETECTORS)}"
            f"{nearest(architecture, DETECTORS)}"
        )
    make = DETECTORS[architecture]
    names = [p for p in inspect.signature(make).parameters if p not in ("inputs", "outputs")]
    unknown = [name for name in hyperparameters if name not in names]
    if unknown:
        raise ModelError(
            f"architecture {architecture!r} has no hyperparameter {unknown[0]!r}; it has "
            f"{', '.join(names)}{nearest(unknown[0], names)}"
        )
    return make([_Channels(channels)], classes, **hyperparameters)


@dataclass(frozen=True)
class _Channels:
    """An input of which nothing is known but its channels."""

    channels: int
    name: str = "image"
    length: int = 1

    @property
    def bands(self) -> tuple[str, ...]:
        """A name for each."""
        return tuple(map(str, range(self.channels)))


def faster_rcnn(
    inputs: Sequence[NetworkInput],
    outputs: int,
    *,
    backbone: str = "resnet18",
    anchors: Sequence[float] = ANCHORS,
    shapes: Sequence[float] = _SHAPES,
    width: int = 128,
    representation: int = 512,
    norm: str = "group",
    most: int = _MOST,
    least_score: float = _LEAST_SCORE,
    nms: float = _NMS,
) -> Detector:
    """Faster R-CNN (Ren et al. 2015, https://arxiv.org/abs/1506.01497) on a feature pyramid.

    Parameters
    ----------
    inputs : sequence of NetworkInput
    outputs : int
        Classes, without the background.
    backbone : str
        ``"small"``, ``"resnet18"``, ``"resnet34"``, ``"resnet50"`` or ``"resnet101"``.
    anchors : sequence of float
        Width of the square that each level begins with, px, finest first: about the sizes of the
        objects.
    shapes : sequence of float
        Height over width of the boxes that each square is also tried as.
    width : int
        Channels of a level.
    representation : int
        Numbers that an object is described by.
    norm : str
        ``"group"``, ``"batch"`` or ``"frozen"``.
    most : int
        Objects of a window at most; torchvision's own 100 is too few for trees.
    least_score : float
        What scores less is not returned at all.
    nms : float
        Intersection over union from which two boxes of a class in one window are one object.
    """
    inner = _two_stages(
        torchvision().models.detection.FasterRCNN, inputs, outputs, backbone=backbone,
        anchors=anchors, shapes=shapes, width=width, representation=representation, norm=norm,
        most=most, least_score=least_score, nms=nms,
    )  # fmt: skip
    return Detector(inner)


def mask_rcnn(
    inputs: Sequence[NetworkInput],
    outputs: int,
    *,
    backbone: str = "resnet18",
    anchors: Sequence[float] = ANCHORS,
    shapes: Sequence[float] = _SHAPES,
    width: int = 128,
    representation: int = 512,
    norm: str = "group",
    most: int = _MOST,
    least_score: float = _LEAST_SCORE,
    nms: float = _NMS,
) -> Detector:
    """Mask R-CNN (He et al. 2017, https://arxiv.org/abs/1703.06870): Faster R-CNN with outlines.

    Parameters are those of :func:`faster_rcnn`.
    """
    vision = torchvision()
    heads = vision.models.detection.mask_rcnn
    masks = {
        "mask_head": heads.MaskRCNNHeads(width, (width,) * 4, 1),
        "mask_predictor": heads.MaskRCNNPredictor(width, width, outputs + 1),
    }
    inner = _two_stages(
        vision.models.detection.MaskRCNN, inputs, outputs, backbone=backbone,
        anchors=anchors, shapes=shapes, width=width, representation=representation, norm=norm,
        most=most, least_score=least_score, nms=nms, masks=masks,
    )  # fmt: skip
    return Detector(inner)


def retina_net(
    inputs: Sequence[NetworkInput],
    outputs: int,
    *,
    backbone: str = "resnet18",
    anchors: Sequence[float] = ANCHORS,
    shapes: Sequence[float] = _SHAPES,
    width: int = 128,
    norm: str = "group",
    most: int = _MOST,
    least_score: float = _LEAST_SCORE,
    nms: float = _NMS,
) -> Detector:
    """RetinaNet (Lin et al. 2017, https://arxiv.org/abs/1708.02002): one stage, focal loss.

    Parameters are those of :func:`faster_rcnn`; each level also tries squares 1.26 and 1.59 times
    as wide as its anchor.
    """
    vision, network = torchvision(), _levels(inputs, backbone, anchors, width, norm)
    sizes = tuple(tuple(round(a * 2 ** (k / 3), 3) for k in range(3)) for a in anchors)
    generator = _anchors(vision, sizes, shapes)
    inner = vision.models.detection.RetinaNet(
        network, outputs, anchor_generator=generator, score_thresh=least_score, nms_thresh=nms,
        detections_per_img=most, topk_candidates=max(1000, most),
        head=vision.models.detection.retinanet.RetinaNetHead(
            width, generator.num_anchors_per_location()[0], outputs, norm_layer=_normed(norm)
        ),
    )  # fmt: skip
    return Detector(_as_they_are(inner), label_shift=1)


def fcos(
    inputs: Sequence[NetworkInput],
    outputs: int,
    *,
    backbone: str = "resnet18",
    levels: int = len(ANCHORS),
    width: int = 128,
    norm: str = "group",
    most: int = _MOST,
    least_score: float = _LEAST_SCORE,
    nms: float = _NMS,
) -> Detector:
    """FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355): one stage, without anchors.

    Parameters are those of :func:`faster_rcnn`. The first of ``levels`` takes objects up to about
    64 px, each further one up to twice as many, the last one all that are larger.
    """
    vision = torchvision()
    strides = [float(FINEST * 2**number) for number in range(_count(levels))]
    generator = _anchors(vision, tuple((stride,) for stride in strides), (1.0,))
    inner = vision.models.detection.FCOS(
        _levels(inputs, backbone, strides, width, norm), outputs, anchor_generator=generator,
        score_thresh=least_score, nms_thresh=nms, detections_per_img=most,
        topk_candidates=max(1000, most),
    )  # fmt: skip
    return Detector(_as_they_are(inner), label_shift=1)


DETECTORS: dict[str, Callable[..., Detector]] = {
    "fasterrcnn": faster_rcnn,
    "maskrcnn": mask_rcnn,
    "retinanet": retina_net,
    "fcos": fcos,
}
"""Detectors by the names that contracts and recipes have for them."""
OUTLINED = ("maskrcnn",)
"""Those that return masks."""


def _two_stages(
    kind: Any,
    inputs: Sequence[NetworkInput],
    outputs: int,
    *,
    backbone: str,
    anchors: Sequence[float],
    shapes: Sequence[float],
    width: int,
    representation: int,
    norm: str,
    most: int,
    least_score: float,
    nms: float,
    masks: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Faster R-CNN or Mask R-CNN."""
    vision, network = torchvision(), _levels(inputs, backbone, anchors, width, norm)
    detection = vision.models.detection
    pooled = partial(pooled_objects, network)
    extra = {} if masks is None else {**masks, "mask_roi_pool": pooled(output_size=_MASK_POOLED)}
    inner = kind(
        network,
        rpn_anchor_generator=_anchors(vision, tuple((a,) for a in anchors), shapes),
        box_roi_pool=pooled(output_size=_POOLED),
        box_head=detection.faster_rcnn.TwoMLPHead(width * _POOLED**2, representation),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(representation, outputs + 1),
        box_score_thresh=least_score,
        box_nms_thresh=nms,
        box_detections_per_img=most,
        rpn_pre_nms_top_n_test=max(1000, 2 * most),
        rpn_post_nms_top_n_test=max(1000, 2 * most),
        **extra,
    )
    return _as_they_are(inner)


def _levels(
    inputs: Sequence[NetworkInput], backbone: str, anchors: Sequence[float], width: int, norm: str
) -> Any:
    """The pyramid of a detector, with a level for each anchor."""
    _check_widths("anchors", anchors, "widths in pixels, one for each level")
    if _count(width) % 8:
        raise ModelError(f"width is {width}; expected a multiple of 8 channels")
    return pyramid(backbone, channels_of(inputs), len(anchors), width=width, norm=norm)


def _check_widths(name: str, values: Any, expected: str) -> None:
    """Refuse what is no list of positive numbers."""
    is_list = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
    if not is_list or not all(isinstance(v, int | float) and 0 < v < math.inf for v in values):
        raise ModelError(f"{name} are {values!r}; expected {expected}, as a list")


def _count(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ModelError(f"a detector has a width or levels of {number!r}; expected 1 or more")
    return number


def _anchors(vision: Any, sizes: Sequence[Sequence[float]], shapes: Sequence[float]) -> Any:
    _check_widths("shapes", shapes, "height over width of boxes, above 0")
    return vision.models.detection.anchor_utils.AnchorGenerator(
        tuple(map(tuple, sizes)), (tuple(shapes),) * len(sizes)
    )


def _normed(norm: str) -> Callable[[int], nn.Module] | None:
    """Normalisation in the heads of RetinaNet, which has none where it is not given."""
    return partial(nn.GroupNorm, 8) if norm == "group" else None


def _as_they_are(detector: Any) -> nn.Module:
    """A detector that takes windows as they are, neither scaled nor resized."""
    detector.transform = WindowTransform()
    network: nn.Module = detector
    return network


class WindowTransform(nn.Module):
    """What is done to windows before and after a detector of torchvision: next to nothing.

    In place of ``GeneralizedRCNNTransform``, which resizes and subtracts means of photographs.
    Windows are padded with zeros to a multiple of 32 px on the right and below.
    """

    def forward(
        self, images: Sequence[torch.Tensor], targets: Targets | None = None
    ) -> tuple[Any, Targets | None]:
        """Windows of one size as torchvision's list of images."""
        height, width = images[0].shape[-2:]
        more = (0, -width % _DIVISIBLE, 0, -height % _DIVISIBLE)
        batch = nn.functional.pad(torch.stack(list(images)), more)
        lists = torchvision().models.detection.image_list
        return lists.ImageList(batch, [(height, width)] * len(images)), targets

    def postprocess(
        self, found: Detected, shapes: Sequence[tuple[int, int]], originals: Any
    ) -> Detected:
        """Masks of objects as masks of the window ``(n, 1, H, W)``; all else stays."""
        del originals  # of the same size
        paste = torchvision().models.detection.roi_heads.paste_masks_in_image
        for window, shape in zip(found, shapes, strict=False):  # none while it is trained
            if "masks" in window:
                window["masks"] = paste(window["masks"], window["boxes"], shape)
        return found
