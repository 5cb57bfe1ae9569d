"""Read the STAC Machine Learning Model (MLM) metadata of a model: all fields that decide a map.

The metadata may ask for things that rsscale does not do: another scaling, functions before and
after the network, other dimensions. A field that decides what the network is given, or what its
result means, is honoured or refused by name; it is never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsscale.errors import ModelError

_TASKS = {"segmentation", "semantic-segmentation"}
_CLASS = {"class", "classes", "channel", "channels"}
_SPACE = ["height", "width"]
_IN = ("batch", "bands", *_SPACE)
# What rsscale wrote until it had read its own contract: the networks it builds never saw it.
_SERIES = ("batch", "time", "bands", *_SPACE)
_FLOATS = ("float16", "float32", "float64", "bfloat16")

_Text = Annotated[str, Field(min_length=1, max_length=300)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Width = Annotated[int, Field(ge=0, le=16384)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Tensor(_Part):
    shape: list[Annotated[int, Field(ge=-1, le=2**31)]]
    dim_order: list[_Text]
    data_type: _Text


class _Band(_Part):
    name: _Text
    expression: Any = None


class _Scaling(_Part):
    type: _Text
    mean: _Number | None = None
    stddev: _Number | None = None
    minimum: _Number | None = None
    maximum: _Number | None = None


class _Input(_Part):
    name: _Text
    bands: list[_Text | _Band] = Field(default_factory=list, max_length=10_000)
    variables: list[Any] | None = None
    input: _Tensor
    value_scaling: list[_Scaling] | None = None
    resize_type: Any = None
    pre_processing_function: Any = None
    norm_type: Any = None
    norm_clip: Any = None
    statistics: Any = None
    times: list[_Text] | None = Field(None, alias="rsscale:times", max_length=10_000)


class _Class(_Part):
    value: Annotated[int, Field(ge=-(2**31), le=2**31)]
    name: _Text
    color_hint: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{6}$")]
    nodata: bool | None = None


class _Output(_Part):
    tasks: list[_Text] | None = None
    result: _Tensor
    classes: list[_Class] | None = Field(None, alias="classification:classes", max_length=255)
    post_processing_function: Any = None


class _Properties(_Part):
    name: _Text = Field(alias="mlm:name")
    architecture: _Text = Field(alias="mlm:architecture")
    framework: _Text | None = Field(None, alias="mlm:framework")
    tasks: list[_Text] | None = Field(None, alias="mlm:tasks")
    # Read one by one: what is said of an output first tells that it is no map.
    input: list[dict[str, Any]] = Field(alias="mlm:input", min_length=1, max_length=100)
    output: list[dict[str, Any]] = Field(alias="mlm:output", min_length=1, max_length=100)
    hyperparameters: dict[str, Any] | None = Field(None, alias="mlm:hyperparameters")
    stride: _Width | None = Field(None, alias="rsscale:stride")
    halo: _Width | None = Field(None, alias="rsscale:halo")
    blend: Literal["trim", "hann"] = Field("trim", alias="rsscale:blend")
    resolution: Annotated[_Number, Field(gt=0)] | None = Field(None, alias="rsscale:resolution")


@dataclass(frozen=True)
class MlmInput:
    """One input of a model: bands, time windows, and what is subtracted and divided by, per band.

    ``is_series`` says that its dimensions are declared as (batch, time, bands, height, width).
    """

    name: str
    bands: tuple[str, ...]
    times: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_series: bool


@dataclass(frozen=True)
class MlmModel:
    """The metadata of a model that maps classes; ``classes`` are (value, name, "RRGGBB")."""

    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    inputs: tuple[MlmInput, ...]
    classes: tuple[tuple[int, str, str], ...]
    stride: int
    halo: int
    blend: Literal["trim", "hann"]
    resolution: float | None


def read_mlm(item: Mapping[str, Any]) -> MlmModel:
    """Read the MLM metadata of a STAC item.

    Raises
    ------
    ModelError
        Which names the field: one that is missing or of another type, or one that asks for what
        rsscale does not do.
    """
    reader = _Reader(item.get("id"))
    top = reader.parse(_Properties, item.get("properties"), "properties")
    reader.check_tasks("mlm:tasks", top.tasks)
    if top.framework is not None and "torch" not in top.framework.lower():
        reader.refuse("mlm:framework", top.framework, "networks of PyTorch are run")
    if len(top.output) != 1:
        reader.refuse("mlm:output", f"{len(top.output)} outputs", "one output is a map")
    output = reader.parse(_Output, top.output[0], "mlm:output[0]")
    classes = reader.classes(output)
    inputs = [reader.parse(_Input, one, f"mlm:input[{n}]") for n, one in enumerate(top.input)]
    for number, one in enumerate(inputs):
        reader.check_input(f"mlm:input[{number}]", one)
    for name, value in (("rsscale:stride", top.stride), ("rsscale:halo", top.halo)):
        if value is None:
            reader.fail(
                f"{name}: missing; it says on which windows the network works: stride (the core of "
                "a window) and halo (its context on each side), in pixels"
            )
    stride, halo = top.stride or 0, top.halo or 0
    if not stride:
        reader.fail("rsscale:stride: is 0; it must be at least 1 px")
    window = stride + 2 * halo
    reader.check_output("mlm:output[0]", output, len(classes), window)
    return MlmModel(
        name=top.name,
        architecture=top.architecture,
        hyperparameters=top.hyperparameters or {},
        inputs=tuple(
            reader.input(f"mlm:input[{number}]", one, window) for number, one in enumerate(inputs)
        ),
        classes=classes,
        stride=stride,
        halo=halo,
        blend=top.blend,
        resolution=top.resolution,
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
            self.refuse(place, others[0], "rsscale maps classes (semantic-segmentation)")

    def classes(self, output: _Output) -> tuple[tuple[int, str, str], ...]:
        """The classes of the output, which is checked for being a map of classes."""
        place = "mlm:output[0]"
        self.check_tasks(f"{place}.tasks", output.tasks)
        if output.post_processing_function is not None:
            self.refuse(
                f"{place}.post_processing_function",
                _name(output.post_processing_function),
                "rsscale takes class scores and applies softmax; put the function into the network "
                "and set this to null",
            )
        if not output.classes:
            self.fail(
                f"{place}.classification:classes: missing; give value, name and color_hint of each "
                "class, in the order of the network's output"
            )
        for number, one in enumerate(output.classes):
            if one.nodata:
                self.refuse(
                    f"{place}.classification:classes[{number}].nodata",
                    "true",
                    "255 is nodata in a map, and no output of the network",
                )
        return tuple((one.value, one.name, one.color_hint) for one in output.classes)

    def check_output(self, place: str, output: _Output, classes: int, window: int) -> None:
        """The declared result must be class scores of the windows."""
        result, place = output.result, f"{place}.result"
        order = result.dim_order
        if len(order) != 4 or order[0] != "batch" or order[1] not in _CLASS or order[2:] != _SPACE:
            self.refuse(f"{place}.dim_order", order, "scores come as (batch, class, height, width)")
        self._check_shape(f"{place}.shape", result.shape, (classes, window, window))
        if result.data_type not in _FLOATS:
            self.refuse(f"{place}.data_type", result.data_type, "scores are floating point numbers")

    def check_input(self, place: str, one: _Input) -> None:
        """Refuse what is to be done to an input and is not."""
        for name, value, what in (
            ("variables", one.variables or None, "inputs are made of bands"),
            (
                "pre_processing_function",
                one.pre_processing_function,
                "values are scaled by value_scaling; put it into the network and set this to null",
            ),
            ("resize_type", one.resize_type, "windows of rsscale:stride and halo are cut"),
            ("norm_type", one.norm_type, "values are scaled by value_scaling"),
            ("norm_clip", one.norm_clip, "values are scaled by value_scaling"),
            ("statistics", one.statistics or None, "values are scaled by value_scaling"),
        ):
            if value is not None:
                self.refuse(f"{place}.{name}", _name(value), what)
        for number, band in enumerate(one.bands):
            if isinstance(band, _Band) and band.expression is not None:
                self.refuse(
                    f"{place}.bands[{number}].expression",
                    band.expression,
                    "bands are read by name; make the band with rsscale.apply",
                )
        if not one.bands:
            self.fail(f"{place}.bands: missing; name the bands in channel order")
        if one.input.data_type != "float32":
            self.refuse(
                f"{place}.input.data_type", one.input.data_type, "a network is given float32"
            )
        if tuple(one.input.dim_order) not in (_IN, _SERIES):
            self.refuse(
                f"{place}.input.dim_order",
                one.input.dim_order,
                "a network gets (batch, bands, height, width), one time window after the other",
            )

    def input(self, place: str, one: _Input, window: int) -> MlmInput:
        """An input whose declared shape is what the network is given."""
        if not one.times:
            self.fail(
                f"{place}.rsscale:times: missing; name the time windows of the bands, "
                'such as ["summer"]'
            )
        times = tuple(one.times)
        listed = tuple(band if isinstance(band, str) else band.name for band in one.bands)
        bands = _once(listed, len(times))
        is_series = tuple(one.input.dim_order) == _SERIES
        channels = (len(times), len(bands)) if is_series else (len(times) * len(bands),)
        self._check_shape(f"{place}.input.shape", one.input.shape, (*channels, window, window))
        if len(set(bands)) < len(bands):
            self.refuse(
                f"{place}.bands", list(listed), "each band of a time window has its own name"
            )
        mean, std = self._scaling(f"{place}.value_scaling", one.value_scaling, listed, bands)
        return MlmInput(one.name, bands, times, mean, std, is_series)

    def _scaling(
        self,
        place: str,
        scaling: Sequence[_Scaling] | None,
        listed: Sequence[str],
        bands: Sequence[str],
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What is subtracted from each band, and what it is divided by."""
        if scaling is None:  # MLM: the values as they are
            return (0.0,) * len(bands), (1.0,) * len(bands)
        pairs = [self._pair(f"{place}[{n}]", one) for n, one in enumerate(scaling)]
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

    def _pair(self, place: str, one: _Scaling) -> tuple[float, float]:
        """``(x - first) / second`` is what an object asks for."""
        # MLM: https://github.com/stac-extensions/mlm#value-scaling-object
        pair = {
            "z-score": (one.mean, one.stddev),
            "min-max": (one.minimum, _difference(one.maximum, one.minimum)),
        }.get(one.type)
        if pair is None:
            self.refuse(f"{place}.type", one.type, "values are scaled by z-score or min-max")
        first, second = pair
        if first is None or second is None:
            self.fail(f"{place}: lacks numbers of its type {one.type!r}")
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
