"""Layers of what a network says beside its task: how far members disagree, what it never saw."""

from __future__ import annotations

from rsscale.layers import Layer

DISAGREEMENT = Layer(
    "disagreement",
    overview="mean",
    attributes={
        "long_name": "mutual information of the class and the member, of its largest possible",
        "units": "percent",
    },
)
"""The layer of what members know differently: 0 where all say the same, 100 where each is sure."""

DISSIMILARITY = Layer(
    "dissimilarity",
    "uint16",
    65535,
    scale=0.001,
    overview="mean",
    attributes={"long_name": "dissimilarity index to the training data"},
)
"""Distance to the nearest training pixel over the mean distance between training pixels."""

APPLICABLE = Layer(
    "applicable",
    overview="mode",
    attributes={
        "long_name": "area of applicability",
        "flag_values": [0, 1],
        "flag_meanings": "outside inside",
    },
)
"""1 where the imagery is like the training, 0 where the model was never shown its like."""
