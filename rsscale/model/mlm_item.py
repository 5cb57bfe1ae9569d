"""Write inputs and outputs of a contract as MLM metadata: each as the network itself has it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rsscale.errors import ModelError
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import DAYS, VALID, Missing, ModelInput, TensorLayout
from rsscale.model.outputs import (
    ClassOutput,
    ConformalSets,
    EmbeddingOutput,
    ObjectOutput,
    Output,
    ResultLayout,
    ValueOutput,
)

MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
# What MLM recommends for a model that is tied to no time: https://github.com/stac-extensions/mlm
ANY_TIME = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}

_IN_CHANNELS = ["batch", "bands", "height", "width"]
_IN_SERIES = ["batch", "time", "bands", "height", "width"]
_OF_EXTRAS = {
    DAYS: (["batch", "time"], "float32", "days of the year, 1 to 366; 0 for blanks"),
    VALID: (
        ["batch", "time", "height", "width"],
        "uint8",
        "whether all bands are known: boolean, false for blanks",
    ),
}


def tasks_of(output: Output) -> list[str]:
    """The tasks of MLM that an output stands for."""
    if isinstance(output, ClassOutput):
        return ["semantic-segmentation"]
    if isinstance(output, ValueOutput):
        return ["regression"]
    if isinstance(output, ObjectOutput):
        return ["instance-segmentation" if output.kind == "outlines" else "object-detection"]
    return ["similarity-search"]  # what MLM has that vectors serve


def bands_to_stac(inputs: Sequence[ModelInput]) -> list[dict[str, Any]]:
    """The bands of all inputs as STAC's band objects, before their values are scaled.

    STAC 1.1 has the data type of a band there, and what stands for missing values.
    """
    names = dict.fromkeys(band for model_input in inputs for band in model_input.bands)
    return [{"name": name, "data_type": "float32", "nodata": "nan"} for name in names]


def inputs_to_mlm(
    inputs: Sequence[ModelInput], layout: TensorLayout, window: int, missing: Missing
) -> list[dict[str, Any]]:
    """Each input as the network gets it, and what it takes beside them.

    In the layout of channels: a channel for each band of each time.
    """
    every: list[dict[str, Any]] = []
    first, total = 0, sum(model_input.channels for model_input in inputs)
    for model_input in inputs:
        placed = (
            f"channels {first} to {first + model_input.channels - 1} of the one tensor of {total} "
            "channels that the network takes: "
            if layout == "channels" and len(inputs) > 1
            else ""
        )
        described = placed + _described(model_input, missing)
        every.append(_input(model_input, layout, window, described))
        first += model_input.channels
        every += _extras(model_input, window)
    return every


def _described(model_input: ModelInput, missing: Missing) -> str:
    """What of an input no field of MLM says: its times, and what is missing."""
    times = (
        f"the observations of a window in the order of their dates, then blanks, where all is "
        f"missing; of more than {model_input.series} those with most known pixels"
        if model_input.series
        else f"time windows {', '.join(model_input.times)} one after the other, each with all bands"
    )
    value = "0" if missing == "mean" else "NaN"
    return f"{times}; a value that is missing or infinite is {value} after value_scaling"


def _input(
    model_input: ModelInput, layout: TensorLayout, window: int, described: str
) -> dict[str, Any]:
    times, bands = model_input.length, len(model_input.bands)
    is_series = layout != "channels"
    scaling = [_scaling(model_input, band) for band in range(bands)]
    return {
        "name": model_input.name,
        "description": described,
        "bands": list(model_input.bands) * (1 if is_series else times),
        "input": {
            "shape": [-1, *((times, bands) if is_series else (times * bands,)), window, window],
            "dim_order": _IN_SERIES if is_series else _IN_CHANNELS,
            "data_type": "float32",
        },
        "value_scaling": scaling * (1 if is_series else times),
        **({"rsscale:series": times} if model_input.series else {}),
        **({} if model_input.series else {"rsscale:times": list(model_input.times)}),
    }


def _scaling(model_input: ModelInput, band: int) -> dict[str, Any]:
    """What is done to a band: clipped, or scaled; MLM has one object for both."""
    mean, std = model_input.mean[band], model_input.std[band]
    low, high = model_input.clip[band] if model_input.clip else (-math.inf, math.inf)
    if (low, high) == (-math.inf, math.inf):
        return {"type": "z-score", "mean": mean, "stddev": std}
    if (mean, std) != (0.0, 1.0):
        raise ModelError(
            f"band {model_input.bands[band]!r} of input {model_input.name!r} is clipped and "
            "scaled; MLM says one of the two of a band: put one into the network"
        )
    if low == -math.inf:
        return {"type": "clip-max", "maximum": high}
    if high == math.inf:
        return {"type": "clip-min", "minimum": low}
    return {"type": "clip", "minimum": low, "maximum": high}


def _extras(model_input: ModelInput, window: int) -> Iterator[dict[str, Any]]:
    """What a network takes beside an input's values, as inputs without bands."""
    lengths = {"batch": -1, "time": model_input.length, "height": window, "width": window}
    for extra in model_input.takes:
        order, data_type, description = _OF_EXTRAS[extra]
        yield {
            "name": f"{model_input.name}.{extra}",
            "description": f"of input {model_input.name}: {description}",
            "bands": [],
            "input": {
                "shape": [lengths[axis] for axis in order],
                "dim_order": order,
                "data_type": data_type,
            },
            "rsscale:of": model_input.name,
        }


def output_to_mlm(
    output: Output,
    classes: Sequence[LandClass],
    result: ResultLayout,
    window: int,
    extras: Sequence[Layer] = (),
) -> dict[str, Any]:
    """The result of the network, before anything is done to it."""
    if isinstance(output, ObjectOutput):
        return _of_objects(output, classes, result)
    width = result.width(window)
    shape = [-1, output.channels(classes) + len(extras), width, width]
    described = _of_kind(output, classes)
    placed: dict[str, Any] = {}
    if result.select is not None:
        placed["rsscale:select"] = result.select
    if result.margin:
        placed["rsscale:margin"] = result.margin
    if result.factor > 1:
        placed["rsscale:factor"] = result.factor
    if extras:
        placed["rsscale:extras"] = [layer.describe() for layer in extras]
    return {
        "name": described.pop("name"),
        "description": described.pop("description"),
        "tasks": tasks_of(output),
        "result": {
            "shape": shape,
            "dim_order": ["batch", described.pop("axis"), "height", "width"],
            "data_type": "float32",
        },
        **described,
        **placed,
    }


def _of_objects(
    output: ObjectOutput, classes: Sequence[LandClass], result: ResultLayout
) -> dict[str, Any]:
    """What a detector returns for a window: rows, as many as it finds."""
    numbers = 5 if output.kind == "oriented" else 4
    kinds = {
        "boxes": "x0, y0, x1, y1",
        "outlines": "x0, y0, x1, y1, with masks (detection, 1, height, width) from 0 to 1",
        "oriented": "x and y of the centre, width, height, degrees counterclockwise",
    }
    return {
        "name": "objects",
        "description": (
            f"for each window a mapping: boxes (detection, {numbers}), {kinds[output.kind]}, in "
            "pixels from the window's left upper corner; labels (detection,), integers: "
            f"{output.first_label} is the first of the classes, the others follow in their order"
            f"{', 0 is the background' if output.first_label else ''}; scores (detection,) from 0 "
            "to 1"
        ),
        "tasks": tasks_of(output),
        "result": {
            "shape": [-1, -1, numbers],
            "dim_order": ["batch", "detection", "box"],
            "data_type": "float32",
        },
        "classification:classes": _described_classes(classes),
        "rsscale:objects": asdict(output),
        **({} if result.select is None else {"rsscale:select": result.select}),
    }


def _described_classes(classes: Sequence[LandClass]) -> list[dict[str, Any]]:
    return [
        {
            "value": c.value,
            "name": c.name,
            "description": c.name,  # which classification 1.1, that MLM refers to, requires
            "color_hint": c.color[1:].upper(),
        }
        for c in classes
    ]


def _sets(conformal: ConformalSets) -> dict[str, Any]:
    return {"level": conformal.level, "thresholds": list(conformal.thresholds)}


def _probabilities(output: ClassOutput) -> str:
    """How the network's numbers become probabilities, in words."""
    if output.activation == "none":
        return "probabilities, a channel for each class in their order"
    softened = "" if output.temperature == 1.0 else f" / {output.temperature!r}"
    if output.activation == "sigmoid":
        return f"a score, of whose second class sigmoid(score{softened}) is the probability"
    return (
        "scores, a channel for each class in their order; probabilities are "
        f"softmax(scores{softened}) over the classes"
    )


def _of_kind(
    output: ClassOutput | ValueOutput | EmbeddingOutput, classes: Sequence[LandClass]
) -> dict[str, Any]:
    if isinstance(output, ClassOutput):
        softened = {} if output.temperature == 1.0 else {"rsscale:temperature": output.temperature}
        activated = (
            {} if output.activation == "softmax" else {"rsscale:activation": output.activation}
        )
        return {
            "name": "classification",
            "description": _probabilities(output),
            "axis": "class",
            "classification:classes": _described_classes(classes),
            **activated,
            **softened,
            **({"rsscale:conformal": _sets(output.conformal)} if output.conformal else {}),
        }
    if isinstance(output, EmbeddingOutput):
        return {
            "name": output.name,
            "description": "a vector for each pixel",
            "axis": "feature",
            "rsscale:embedding": {
                "dtype": output.dtype,
                "quantization": output.quantization,
                "unit_length": output.unit_length,
            },
        }
    return {
        "name": "values",
        "description": "a channel for each of rsscale:values, in physical units, not scaled",
        "axis": "value",
        "rsscale:values": [layer.describe() for layer in output.quantities],
    }
