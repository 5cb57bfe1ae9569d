"""Detectors of torchvision for windows of any number of channels, with random weights.

Windows go in as they are: values are scaled by the contract of a model, and nothing is resized
(torchvision would bring every image to 800 px and subtract the means of ImageNet). What they are
given and return is torchvision's: a mapping for each window with ``boxes (n, 4)`` in pixels of
the window, ``labels (n,)`` from 1, ``scores (n,)`` and, of Mask R-CNN, ``masks (n, 1, H, W)``; in
the mode of training, with ``targets``, a mapping of losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from rsscale.detectors.hyperparameters import Anchored, AnchorFree, DetectorMaker, TwoStage
from rsscale.detectors.pyramids import FINEST, pooled_objects, pyramid, torchvision
from rsscale.detectors.turned import TurnedDetector
from rsscale.detectors.wrapped import Detector, as_they_are
from rsscale.errors import ModelError, nearest
from rsscale.networks.inputs import NetworkInput, channels_of

_POOLED, _MASK_POOLED = 7, 14
_GROUPS = 32  # of channels in the heads of torchvision's FCOS, whatever the norm


def build_detector(
    architecture: str, channels: int, classes: int, hyperparameters: Mapping[str, Any]
) -> nn.Module:
    """A detector by name, with random weights.

    Parameters
    ----------
    architecture : str
        ``"fasterrcnn"``, ``"maskrcnn"``, ``"retinanet"``, ``"fcos"`` or ``"fcos-oriented"``.
    channels : int
        Of a window.
    classes : int
        Without the background.
    hyperparameters : mapping
        Of :mod:`rsscale.detectors.hyperparameters`, such as ``backbone``, ``anchors``, ``width``.

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
    unknown = [name for name in hyperparameters if name not in make.names]
    if unknown:
        raise ModelError(
            f"architecture {architecture!r} has no hyperparameter {unknown[0]!r}; it has "
            f"{', '.join(make.names)}{nearest(unknown[0], make.names)}"
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


def faster_rcnn(inputs: Sequence[NetworkInput], outputs: int, how: TwoStage) -> Detector:
    """Faster R-CNN (Ren et al. 2015, https://arxiv.org/abs/1506.01497) on a feature pyramid.

    Parameters
    ----------
    inputs : sequence of NetworkInput
    outputs : int
        Classes, without the background.
    how : TwoStage
    """
    return _two_stages(torchvision().models.detection.FasterRCNN, inputs, outputs, how)


def mask_rcnn(inputs: Sequence[NetworkInput], outputs: int, how: TwoStage) -> Detector:
    """Mask R-CNN (He et al. 2017, https://arxiv.org/abs/1703.06870): Faster R-CNN with outlines.

    Parameters are those of :func:`faster_rcnn`.
    """
    vision = torchvision()
    heads, width = vision.models.detection.mask_rcnn, how.width
    masks = {
        "mask_head": heads.MaskRCNNHeads(width, (width,) * 4, 1),
        "mask_predictor": heads.MaskRCNNPredictor(width, width, outputs + 1),
    }
    return _two_stages(vision.models.detection.MaskRCNN, inputs, outputs, how, masks)


def retina_net(inputs: Sequence[NetworkInput], outputs: int, how: Anchored) -> Detector:
    """RetinaNet (Lin et al. 2017, https://arxiv.org/abs/1708.02002): one stage, focal loss.

    Parameters are those of :func:`faster_rcnn`; each level also tries squares 1.26 and 1.59 times
    as wide as its anchor.
    """
    vision, network = torchvision(), _levels(inputs, how, how.anchors)
    sizes = tuple(tuple(round(a * 2 ** (k / 3), 3) for k in range(3)) for a in how.anchors)
    generator = _anchors(vision, sizes, how.shapes)
    inner = vision.models.detection.RetinaNet(
        network, outputs, anchor_generator=generator, **_of_one_stage(how),
        head=vision.models.detection.retinanet.RetinaNetHead(
            how.width, generator.num_anchors_per_location()[0], outputs,
            norm_layer=_normed(how.norm),
        ),
    )  # fmt: skip
    return Detector(as_they_are(inner), label_shift=1)


def fcos(inputs: Sequence[NetworkInput], outputs: int, how: AnchorFree) -> Detector:
    """FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355): one stage, without anchors.

    Parameters are those of :func:`faster_rcnn`.
    """
    return Detector(_without_anchors(inputs, outputs, how), label_shift=1)


def oriented_fcos(inputs: Sequence[NetworkInput], outputs: int, how: AnchorFree) -> Detector:
    """FCOS, and for each of its boxes the turned one: see :mod:`rsscale.detectors.turned`.

    Parameters are those of :func:`faster_rcnn`.
    """
    return TurnedDetector(_without_anchors(inputs, outputs, how), label_shift=1)


DETECTORS: dict[str, DetectorMaker[Any]] = {
    "fasterrcnn": DetectorMaker(faster_rcnn, TwoStage),
    "maskrcnn": DetectorMaker(mask_rcnn, TwoStage),
    "retinanet": DetectorMaker(retina_net, Anchored),
    "fcos": DetectorMaker(fcos, AnchorFree),
    "fcos-oriented": DetectorMaker(oriented_fcos, AnchorFree),
}
"""Detectors by the names that contracts and recipes have for them."""
OUTLINED = ("maskrcnn",)
"""Those that return masks."""
ORIENTED = ("fcos-oriented",)
"""Those that return turned boxes."""


def _two_stages(
    kind: Any,
    inputs: Sequence[NetworkInput],
    outputs: int,
    how: TwoStage,
    masks: Mapping[str, Any] | None = None,
) -> Detector:
    """Faster R-CNN or Mask R-CNN."""
    vision, network = torchvision(), _levels(inputs, how, how.anchors)
    detection = vision.models.detection
    pooled = partial(pooled_objects, network)
    extra = {} if masks is None else {**masks, "mask_roi_pool": pooled(output_size=_MASK_POOLED)}
    inner = kind(
        network,
        rpn_anchor_generator=_anchors(vision, tuple((a,) for a in how.anchors), how.shapes),
        box_roi_pool=pooled(output_size=_POOLED),
        box_head=detection.faster_rcnn.TwoMLPHead(how.width * _POOLED**2, how.representation),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(how.representation, outputs + 1),
        box_score_thresh=how.least_score,
        box_nms_thresh=how.nms,
        box_detections_per_img=how.most,
        rpn_pre_nms_top_n_test=max(1000, 2 * how.most),
        rpn_post_nms_top_n_test=max(1000, 2 * how.most),
        **extra,
    )
    return Detector(as_they_are(inner))


def _without_anchors(inputs: Sequence[NetworkInput], outputs: int, how: AnchorFree) -> nn.Module:
    vision = torchvision()
    if _count(how.width) % _GROUPS:
        raise ModelError(f"width is {how.width}; fcos needs a multiple of {_GROUPS} channels")
    strides = [float(FINEST * 2**number) for number in range(_count(how.levels))]
    generator = _anchors(vision, tuple((stride,) for stride in strides), (1.0,))
    network = _levels(inputs, how, strides)
    inner = vision.models.detection.FCOS(
        network, outputs, anchor_generator=generator, **_of_one_stage(how)
    )
    return as_they_are(inner)


def _of_one_stage(how: Anchored | AnchorFree) -> dict[str, Any]:
    """What is returned of a window, by torchvision's names."""
    return {
        "score_thresh": how.least_score,
        "nms_thresh": how.nms,
        "detections_per_img": how.most,
        "topk_candidates": max(1000, how.most),
    }


def _levels(
    inputs: Sequence[NetworkInput], how: Anchored | AnchorFree, anchors: Sequence[float]
) -> Any:
    """The pyramid of a detector, with a level for each anchor."""
    _check_widths("anchors", anchors, "widths in pixels, one for each level")
    if _count(how.width) % 8:
        raise ModelError(f"width is {how.width}; expected a multiple of 8 channels")
    channels = channels_of(inputs)
    return pyramid(how.backbone, channels, len(anchors), width=how.width, norm=how.norm)


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
