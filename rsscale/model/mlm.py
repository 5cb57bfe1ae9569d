"""Read the STAC Machine Learning Model (MLM) metadata of a model: all fields that decide a map.

The metadata may ask for things that rsscale does not do: another scaling, functions before and
after the network, other dimensions. A field that decides what the network is given, or what its
result means, is honoured or refused by name; it is never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from pydantic import ValidationError

from rsscale.errors import ModelError, RsscaleError
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.mlm_schema import MlmBand, MlmInput, MlmOutput, MlmProperties, MlmScaling
from rsscale.model.model_input import DAYS, VALID, ModelInput, TensorLayout
from rsscale.model.outputs import (
    ClassOutput,
    ConformalSets,
    EmbeddingOutput,
    Output,
    ResultLayout,
    ValueOutput,
)

_TASKS = {"segmentation", "semantic-segmentation", "regression", "similarity-search"}
_CHANNEL = {
    "class": {"class", "classes", "channel", "channels"},
    "value": {"value", "values", "channel", "channels", "bands"},
    "feature": {"feature", "features", "channel", "channels", "embedding"},
}
_SPACE = ["height", "width"]
_IN = ("batch", "bands", *_SPACE)
_SERIES = ("batch", "time", "bands", *_SPACE)
_FLOATS = ("float16", "float32", "float64", "bfloat16")
# Whose items of before said (batch, time, ...) though they take channels.
_CHANNELS_ALWAYS = ("unet", "pixel")


@dataclass(frozen=True)
class MlmModel:
    """The metadata of a model, as the parts of a :class:`rsscale.ModelSpec`."""

    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    inputs: tuple[ModelInput, ...]
    classes: tuple[LandClass, ...]
    stride: int
    halo: int
    blend: Literal["trim", "hann"]
    resolution: float | None
    output: Output
    layout: TensorLayout
    result: ResultLayout
    extras: tuple[Layer, ...] = ()


def read_mlm(item: Mapping[str, Any]) -> MlmModel:
    """Read the MLM metadata of a STAC item.

    Raises
    ------
    ModelError
        Which names the field: one that is missing or of another type, or one that asks for what
        rsscale does not do.
    """
    reader = _Reader(item.get("id"))
    top = reader.parse(MlmProperties, item.get("properties"), "properties")
    reader.check_tasks("mlm:tasks", top.tasks)
    if top.framework is not None and "torch" not in top.framework.lower():
        reader.refuse("mlm:framework", top.framework, "networks of PyTorch are run")
    if len(top.output) != 1:
        reader.refuse("mlm:output", f"{len(top.output)} outputs", "one output is a map")
    declared = reader.parse(MlmOutput, top.output[0], "mlm:output[0]")
    output, classes = reader.output(declared)
    inputs = [reader.parse(MlmInput, part, f"mlm:input[{n}]") for n, part in enumerate(top.input)]
    for number, declared_input in enumerate(inputs):
        reader.check_input(f"mlm:input[{number}]", declared_input)
    stride, halo = reader.windows(top)
    window = stride + 2 * halo
    result = ResultLayout(declared.select, declared.margin, declared.factor)
    extras = tuple(reader.quantities("mlm:output[0].rsscale:extras", declared.extras))
    channels = output.channels(classes) + len(extras)
    reader.check_output("mlm:output[0]", declared, output, (channels, result.width(window)))
    layout = reader.layout(top, inputs)
    return MlmModel(
        name=top.name,
        architecture=top.architecture,
        hyperparameters=top.hyperparameters or {},
        inputs=tuple(reader.inputs(inputs, window)),
        classes=classes,
        stride=stride,
        halo=halo,
        blend=top.blend,
        resolution=top.resolution,
        output=output,
        layout=layout,
        result=result,
        extras=extras,
    )


class _Reader:
    """Reads the parts of one item; its errors name the item and the field."""

    def __init__(self, name: Any) -> None:
        self._name = str(name)[:100]

    def fail(self, message: str) -> NoReturn:
        raise ModelError(f"the MLM item {self._name!r}: {message}")

    def refuse(self, place: str, found: Any, expected: str) -> NoReturn:
        """Refuse a field by name."""
        shown = " ".join(str(found).split())[:120]
        self.fail(f"{place} is {shown}; {expected}, and nothing else")

    def parse(self, kind: type[Any], content: Any, place: str) -> Any:
        """One part, of the right types."""
        try:
            return kind.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            inner = "".join(
                f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
            ).lstrip(".")
            where = f"{place}.{inner}" if inner and place != "properties" else inner or place
            if first["type"] == "missing":
                self.fail(
                    f"{where}: missing; a model for rsscale needs mlm:name, mlm:architecture, "
                    "mlm:input, mlm:output with classes, rsscale:stride and rsscale:halo"
                )
            shown = " ".join(repr(first["input"]).split())[:80]
            self.fail(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}, found {shown}")

    def check_tasks(self, place: str, tasks: Sequence[str] | None) -> None:
        others = [task for task in tasks or () if task not in _TASKS]
        if others:
            self.refuse(
                place,
                others[0],
                "rsscale maps classes (semantic-segmentation), values (regression) and embeddings",
            )

    def windows(self, top: MlmProperties) -> tuple[int, int]:
        """Stride and halo."""
        for name, value in (("rsscale:stride", top.stride), ("rsscale:halo", top.halo)):
            if value is None:
                self.fail(
                    f"{name}: missing; it says on which windows the network works: stride (the "
                    "core of a window) and halo (its context on each side), in pixels"
                )
        stride, halo = top.stride or 0, top.halo or 0
        if not stride:
            self.fail("rsscale:stride: is 0; it must be at least 1 px")
        return stride, halo

    def output(self, declared: MlmOutput) -> tuple[Output, tuple[LandClass, ...]]:
        """What the result is: classes, values or an embedding; and the classes."""
        place = "mlm:output[0]"
        self.check_tasks(f"{place}.tasks", declared.tasks)
        if declared.post_processing_function is not None:
            self.refuse(
                f"{place}.post_processing_function",
                _name(declared.post_processing_function),
                "rsscale takes class scores and applies softmax; put the function into the network "
                "and set this to null",
            )
        if declared.values is not None:
            return ValueOutput(
                tuple(self.quantities(f"{place}.rsscale:values", declared.values))
            ), ()
        if declared.embedding is not None:
            return self._embedding(declared), ()
        sets = declared.conformal
        conformal = ConformalSets(sets.level, tuple(sets.thresholds)) if sets else None
        activation, temperature = declared.activation, declared.temperature
        return ClassOutput(activation, temperature, conformal), self._classes(declared)

    def _classes(self, declared: MlmOutput) -> tuple[LandClass, ...]:
        place = "mlm:output[0]"
        tasks = declared.tasks or ["semantic-segmentation"]
        if not {"segmentation", "semantic-segmentation"} & set(tasks):
            self.refuse(
                f"{place}.tasks",
                tasks[0],
                "of an output without rsscale:values or rsscale:embedding it is "
                "semantic-segmentation",
            )
        if not declared.classes:
            self.fail(
                f"{place}.classification:classes: missing; give value, name and color_hint of each "
                "class, in the order of the network's output"
            )
        for number, declared_class in enumerate(declared.classes):
            if declared_class.nodata:
                self.refuse(
                    f"{place}.classification:classes[{number}].nodata",
                    "true",
                    "255 is nodata in a map, and no output of the network",
                )
        return tuple(
            LandClass(c.value, c.name, f"#{c.color_hint.lower()}") for c in declared.classes
        )

    def quantities(self, place: str, values: Sequence[Mapping[str, Any]]) -> list[Layer]:
        """Layers that are described in a list."""
        found = []
        for number, content in enumerate(values):
            try:
                found.append(Layer.parse({"axis": None, "nodata": "nan", **content}))
            except (TypeError, ValueError, KeyError, RsscaleError) as error:
                reason = " ".join(str(error).split())[:200]
                self.fail(
                    f"{place}[{number}]: {reason}; expected a layer: name, dtype, "
                    "nodata, scale, offset, overview and attributes"
                )
        return found

    def _embedding(self, declared: MlmOutput) -> EmbeddingOutput:
        size = declared.result.shape[1] if len(declared.result.shape) > 1 else -1
        if size < 1:
            self.fail(
                f"mlm:output[0].result.shape: is {declared.result.shape}; the second number is "
                "that of the embedding's features"
            )
        how = declared.embedding
        return (
            EmbeddingOutput(size, how.dtype, how.quantization, how.unit_length, declared.name)
            if how
            else EmbeddingOutput(size)
        )

    def check_output(
        self, place: str, declared: MlmOutput, output: Output, size: tuple[int, int]
    ) -> None:
        """The declared result must be numbers for the pixels of the windows."""
        result, place = declared.result, f"{place}.result"
        axis = "class"
        if not isinstance(output, ClassOutput):
            axis = "value" if isinstance(output, ValueOutput) else "feature"
        order = result.dim_order
        fits = len(order) == 4 and order[0] == "batch" and order[1] in _CHANNEL[axis]
        if not fits or order[2:] != _SPACE:
            self.refuse(
                f"{place}.dim_order", order, f"numbers come as (batch, {axis}, height, width)"
            )
        channels, width = size
        self._check_shape(f"{place}.shape", result.shape, (channels, width, width))
        if result.data_type not in _FLOATS:
            self.refuse(f"{place}.data_type", result.data_type, "scores are floating point numbers")

    def layout(self, top: MlmProperties, inputs: Sequence[MlmInput]) -> TensorLayout:
        """How the network takes its inputs: as it is said, else by the order of dimensions."""
        if top.layout is not None:
            return top.layout
        values = [declared for declared in inputs if declared.of is None]
        orders = {tuple(declared.input.dim_order) for declared in values}
        if orders == {_SERIES} and top.architecture not in _CHANNELS_ALWAYS:
            return "series" if len(inputs) == 1 else "mapping"
        if len(orders) > 1:
            self.refuse(
                "mlm:input",
                "of several orders of dimensions",
                "all are (batch, bands, …) or all (batch, time, bands, …)",
            )
        return "channels"

    def check_input(self, place: str, declared: MlmInput) -> None:
        """Refuse what is to be done to an input and is not."""
        if declared.of is not None:
            return
        for name, value, instead in (
            ("variables", declared.variables or None, "inputs are made of bands"),
            (
                "pre_processing_function",
                declared.pre_processing_function,
                "values are scaled by value_scaling; put it into the network and set this to null",
            ),
            ("resize_type", declared.resize_type, "windows of rsscale:stride and halo are cut"),
            ("norm_type", declared.norm_type, "values are scaled by value_scaling"),
            ("norm_clip", declared.norm_clip, "values are scaled by value_scaling"),
            ("statistics", declared.statistics or None, "values are scaled by value_scaling"),
        ):
            if value is not None:
                self.refuse(f"{place}.{name}", _name(value), instead)
        for number, band in enumerate(declared.bands):
            if isinstance(band, MlmBand) and band.expression is not None:
                self.refuse(
                    f"{place}.bands[{number}].expression",
                    band.expression,
                    "bands are read by name; make the band with rsscale.apply",
                )
        if not declared.bands:
            self.fail(f"{place}.bands: missing; name the bands in channel order")
        if declared.input.data_type != "float32":
            self.refuse(
                f"{place}.input.data_type", declared.input.data_type, "a network is given float32"
            )
        if tuple(declared.input.dim_order) not in (_IN, _SERIES):
            self.refuse(
                f"{place}.input.dim_order",
                declared.input.dim_order,
                "a network gets (batch, bands, height, width), one time window after the other",
            )

    def inputs(self, inputs: Sequence[MlmInput], window: int) -> list[ModelInput]:
        """The inputs of values, each with what the network takes beside it."""
        takes: dict[str, list[str]] = {}
        for number, declared in enumerate(inputs):
            if declared.of is not None:
                extra = declared.name.removeprefix(f"{declared.of}.")
                if extra not in (DAYS, VALID):
                    self.refuse(
                        f"mlm:input[{number}].name",
                        declared.name,
                        "of an input are taken its 'days' and 'valid'",
                    )
                takes.setdefault(declared.of, []).append(extra)
        return [
            self._input(
                f"mlm:input[{number}]",
                declared,
                window,
                tuple(takes.get(declared.name, ())),
            )
            for number, declared in enumerate(inputs)
            if declared.of is None
        ]

    def _input(
        self,
        place: str,
        declared: MlmInput,
        window: int,
        takes: tuple[str, ...],
    ) -> ModelInput:
        """An input whose declared shape is what the network is given."""
        if not declared.times and not declared.series:
            self.fail(
                f"{place}.rsscale:times: missing; name the time windows of the bands, "
                'such as ["summer"], or give the observations of a series with rsscale:series'
            )
        times = tuple(declared.times or ())
        length = declared.series or len(times)
        listed = tuple(band if isinstance(band, str) else band.name for band in declared.bands)
        bands = _once(listed, length)
        is_series = tuple(declared.input.dim_order) == _SERIES
        channels = (length, len(bands)) if is_series else (length * len(bands),)
        self._check_shape(f"{place}.input.shape", declared.input.shape, (*channels, window, window))
        if len(set(bands)) < len(bands):
            self.refuse(
                f"{place}.bands", list(listed), "each band of a time window has its own name"
            )
        mean, std = self._scaling(f"{place}.value_scaling", declared.value_scaling, listed, bands)
        return ModelInput(declared.name, bands, times, mean, std, declared.series or 0, takes)

    def _scaling(
        self,
        place: str,
        scaling: Sequence[MlmScaling] | None,
        listed: Sequence[str],
        bands: Sequence[str],
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What is subtracted from each band, and what it is divided by."""
        if scaling is None:  # MLM: the values as they are
            return (0.0,) * len(bands), (1.0,) * len(bands)
        pairs = [self._pair(f"{place}[{n}]", part) for n, part in enumerate(scaling)]
        if len(pairs) == 1:  # MLM: one object stands for all bands
            pairs *= len(bands)
        if len(pairs) not in (len(bands), len(listed)):
            self.fail(f"{place}: holds {len(pairs)} objects; one for all bands, or {len(listed)}")
        pairs_by_time = [pairs[n : n + len(bands)] for n in range(0, len(pairs), len(bands))]
        if any(others != pairs_by_time[0] for others in pairs_by_time):
            self.refuse(
                place, "another for the same band at another time", "a band is scaled alike"
            )
        return tuple(a for a, _ in pairs_by_time[0]), tuple(b for _, b in pairs_by_time[0])

    def _pair(self, place: str, scaling: MlmScaling) -> tuple[float, float]:
        """``(x - first) / second`` is what an object asks for."""
        # MLM: https://github.com/stac-extensions/mlm#value-scaling-object
        pair = {
            "z-score": (scaling.mean, scaling.stddev),
            "min-max": (scaling.minimum, _difference(scaling.maximum, scaling.minimum)),
        }.get(scaling.type)
        if pair is None:
            self.refuse(f"{place}.type", scaling.type, "values are scaled by z-score or min-max")
        first, second = pair
        if first is None or second is None:
            self.fail(f"{place}: lacks numbers of its type {scaling.type!r}")
        if second <= 0:
            self.fail(f"{place}: divides by {second:g}; expected a positive number")
        return first, second

    def _check_shape(self, place: str, shape: Sequence[int], expected: Sequence[int]) -> None:
        """A shape of a batch of any size; -1 is any length."""
        whole = [-1, *expected]
        fits = len(shape) == len(whole) and shape[0] == -1
        if not fits or any(a not in (-1, b) for a, b in zip(shape[1:], expected, strict=True)):
            self.refuse(
                place, list(shape), f"it is {whole} by the bands, times, classes and windows"
            )


def _once(listed: tuple[str, ...], times: int) -> tuple[str, ...]:
    """The bands of one time window, where they are listed for each."""
    count = len(listed) // times
    return listed[:count] if count and listed == listed[:count] * times else listed


def _difference(high: float | None, low: float | None) -> float | None:
    return None if high is None or low is None else high - low


def _name(value: Any) -> Any:
    """What names a processing expression best."""
    if isinstance(value, Mapping) and "expression" in value:
        return value["expression"]
    return value
