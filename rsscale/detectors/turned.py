"""Turned boxes: what an upright detector finds, each with its angle, width and height.

A head looks at what the detector sees in each upright box, as Faster R-CNN does of its proposals,
and says which way the object in it lies: sine and cosine of twice the angle of its long side, which
are the same for both ends of it, and its two sides over the width of the box's square. So no
number jumps where a rectangle is turned by half a turn; that of a square, which lies in two ways,
counts for nothing. It learns from the true boxes and from some a little larger and smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from rsscale.detectors.pyramids import pooled_objects
from rsscale.detectors.wrapped import Detector, Targets
from rsscale.errors import ModelError

_POOLED, _HIDDEN = 7, 256
_AROUND = 1.2  # what is seen of a box, over its width: its edges too
_SCALES = (0.85, 1.0, 1.15)  # of true boxes, since detected ones are not exact
_ELONGATED = 1.3  # from this ratio of its sides on, the angle of a rectangle counts in full


class TurnedDetector(Detector):
    """A detector whose boxes ``(n, 5)`` are turned: centre, width, height, degrees.

    Degrees are of the width, the longer side mostly, counterclockwise in the picture, from -90
    to 90.

    Parameters
    ----------
    inner : torch.nn.Module
        A detector of torchvision on a pyramid.
    label_shift : int
        See :class:`~rsscale.detectors.wrapped.Detector`.
    """

    def __init__(self, inner: Any, label_shift: int = 0) -> None:
        super().__init__(inner, label_shift)
        self.turns = TurnHead(inner.backbone)

    def forward(self, images: torch.Tensor, targets: Targets | None = None) -> Any:
        """What is found in windows ``(N, C, H, W)``, or the losses while it is trained.

        Parameters
        ----------
        images : Tensor
        targets : sequence of mapping, optional
            Of each window also ``rectangles (n, 5)`` float32, as it returns boxes; for training.
        """
        backbone: Any = self.inner.backbone
        with _levels_of(backbone) as levels:
            answer = super().forward(images, targets)
        size = (images.shape[-2], images.shape[-1])
        if self.training and targets is not None:
            return {**answer, "loss_turn": self._loss(levels, targets, size)}
        says = self.turns(levels, [window["boxes"] for window in answer], size)
        return [
            {**window, "boxes": turned_boxes(window["boxes"].float(), said.float())}
            for window, said in zip(answer, says, strict=True)
        ]

    def _loss(
        self, levels: Mapping[str, torch.Tensor], targets: Targets, size: tuple[int, int]
    ) -> torch.Tensor:
        if any("rectangles" not in target for target in targets):
            raise ModelError(
                "a detector of turned boxes learns from targets with 'rectangles' (n, 5): centre, "
                "width, height and degrees"
            )
        boxes = [torch.cat([_scaled(t["boxes"], s) for s in _SCALES]) for t in targets]
        truth = [t["rectangles"].repeat(len(_SCALES), 1) for t in targets]
        said = torch.cat(self.turns(levels, boxes, size)).float()
        wanted, weight = wanted_turns(torch.cat(boxes), torch.cat(truth))
        if not len(wanted):
            return said.sum()  # nothing, with a gradient
        each = nn.functional.smooth_l1_loss(said, wanted, reduction="none", beta=0.1)
        return (each * weight).sum() / len(wanted)


class TurnHead(nn.Module):
    """Sine and cosine of twice the angle, and logarithms of both sides, of each upright box.

    Parameters
    ----------
    network : Pyramid
        Whose levels it looks at.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.pool = pooled_objects(network, output_size=_POOLED)
        self.first = nn.Linear(network.out_channels * _POOLED**2 + 1, _HIDDEN)
        self.last = nn.Linear(_HIDDEN, 4)

    def forward(
        self,
        levels: Mapping[str, torch.Tensor],
        boxes: Sequence[torch.Tensor],
        size: tuple[int, int],
    ) -> list[torch.Tensor]:
        """``(n, 4)`` of the boxes ``(n, 4)`` of each window."""
        wider = [_scaled(own, _AROUND) for own in boxes]
        seen = self.pool(dict(levels), wider, [size] * len(boxes)).flatten(1)
        width, height = _sides(torch.cat(list(boxes))).unbind(1)
        shape = (width / height).log()[:, None].to(seen.dtype)
        said = self.last(torch.relu(self.first(torch.cat([seen, shape], dim=1))))
        return list(said.split([len(own) for own in boxes]))


def turned_boxes(boxes: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """Centre, width, height, degrees ``(n, 5)`` of upright boxes and what the head says of each."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    square = _sides(boxes).prod(dim=1, keepdim=True).sqrt()
    sides = said[:, 2:].clamp(-4, 2).exp() * square
    degrees = torch.rad2deg(torch.atan2(said[:, 0], said[:, 1])) / 2
    return torch.cat([centre, sides, degrees[:, None]], dim=1)


def wanted_turns(
    boxes: torch.Tensor, rectangles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the head is to say of upright boxes, and how much each number of it counts.

    Parameters
    ----------
    boxes : Tensor (n, 4)
    rectangles : Tensor (n, 5)
        The turned boxes in them, of which the width is the longer side.
    """
    twice = torch.deg2rad(2 * rectangles[:, 4])
    square = _sides(boxes).prod(dim=1, keepdim=True).sqrt()
    sides = (rectangles[:, 2:4].clamp(min=1e-3) / square).log()
    wanted = torch.cat([twice.sin()[:, None], twice.cos()[:, None], sides], dim=1)
    ratio = rectangles[:, 2] / rectangles[:, 3].clamp(min=1e-3)
    counts = ((ratio - 1) / (_ELONGATED - 1)).clamp(0, 1)[:, None]
    return wanted, torch.cat([counts.expand(-1, 2), torch.ones_like(sides)], dim=1)


def _sides(boxes: torch.Tensor) -> torch.Tensor:
    """Width and height ``(n, 2)``, never nothing."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)


def _scaled(boxes: torch.Tensor, scale: float) -> torch.Tensor:
    """Boxes around the same centres."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, _sides(boxes) * (scale / 2)
    return torch.cat([centre - half, centre + half], dim=1)


@contextmanager
def _levels_of(backbone: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """The levels that a pyramid gives while the block runs, which torchvision keeps to itself."""
    levels: dict[str, torch.Tensor] = {}
    handle = backbone.register_forward_hook(lambda _module, _given, out: levels.update(out))
    try:
        yield levels
    finally:
        handle.remove()
