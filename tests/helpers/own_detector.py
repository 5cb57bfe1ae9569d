"""A detector as a user's own module makes it."""

from torch import nn

from rsscale.detectors.detectors import build_detector


def make(channels: int, classes: int, width: int = 32) -> nn.Module:
    return build_detector(
        "fcos", channels, classes, {"backbone": "small", "width": width, "levels": 2}
    )
