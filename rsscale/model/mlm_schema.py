"""The fields of MLM metadata that decide a map, with their types and bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rsscale.model.model_input import Missing, Seen, TensorLayout
from rsscale.model.outputs import Activation, Companding, ObjectKind

_Text = Annotated[str, Field(min_length=1, max_length=300)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Width = Annotated[int, Field(ge=0, le=16384)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class MlmTensor(_Part):
    """Shape and type of an input or a result."""

    shape: list[Annotated[int, Field(ge=-1, le=2**31)]]
    dim_order: list[_Text]
    data_type: _Text


class MlmBand(_Part):
    """A band by name."""

    name: _Text
    expression: Any = None


class MlmScaling(_Part):
    """What is done to the values of a band."""

    type: _Text
    mean: _Number | None = None
    stddev: _Number | None = None
    minimum: _Number | None = None
    maximum: _Number | None = None
    value: _Number | None = None


class MlmInput(_Part):
    """An input of the network."""

    name: _Text
    bands: list[_Text | MlmBand] = Field(default_factory=list, max_length=10_000)
    variables: list[Any] | None = None
    input: MlmTensor
    value_scaling: list[MlmScaling] | None = None
    resize_type: Any = None
    pre_processing_function: Any = None
    norm_type: Any = None
    norm_clip: Any = None
    statistics: Any = None
    times: list[_Text] | None = Field(None, alias="rsscale:times", max_length=10_000)
    series: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, alias="rsscale:series")
    of: _Text | None = Field(None, alias="rsscale:of")


class MlmClass(_Part):
    """A class of the output."""

    value: Annotated[int, Field(ge=-(2**31), le=2**31)]
    name: _Text
    color_hint: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{6}$")] | None = None
    nodata: bool | None = None


class MlmEmbedding(_Part):
    """How an embedding is written."""

    dtype: Literal["int8", "float32"] = "int8"
    quantization: Companding = "linear"
    unit_length: bool = True


class MlmConformal(_Part):
    """How sets of classes are made."""

    level: Annotated[_Number, Field(gt=0, lt=1)]
    thresholds: list[Annotated[_Number, Field(ge=0, le=1)]] = Field(max_length=255)


class MlmObjects(_Part):
    """How the detections of a window become objects."""

    kind: ObjectKind = "boxes"
    score_threshold: _Number = 0.5
    iou: _Number = 0.5
    most: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    mask_threshold: _Number = 0.5
    first_label: int = 1


class MlmOutput(_Part):
    """A result of the network, and what rsscale does to it."""

    name: _Text = "output"
    tasks: list[_Text] | None = None
    result: MlmTensor
    classes: list[MlmClass] | None = Field(None, alias="classification:classes", max_length=255)
    post_processing_function: Any = None
    activation: Activation = Field("softmax", alias="rsscale:activation")
    temperature: Annotated[_Number, Field(gt=0)] = Field(1.0, alias="rsscale:temperature")
    conformal: MlmConformal | None = Field(None, alias="rsscale:conformal")
    extras: list[dict[str, Any]] = Field(
        default_factory=list, alias="rsscale:extras", max_length=100
    )
    values: list[dict[str, Any]] | None = Field(None, alias="rsscale:values", max_length=1000)
    embedding: MlmEmbedding | None = Field(None, alias="rsscale:embedding")
    objects: MlmObjects | None = Field(None, alias="rsscale:objects")
    select: str | int | None = Field(None, alias="rsscale:select")
    margin: _Width = Field(0, alias="rsscale:margin")
    factor: Annotated[int, Field(ge=1, le=1024)] = Field(1, alias="rsscale:factor")


class MlmProperties(_Part):
    """The properties of an item that decide a map."""

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
    layout: TensorLayout | None = Field(None, alias="rsscale:layout")
    missing: Missing = Field("mean", alias="rsscale:missing")
    seen: Seen = Field("any", alias="rsscale:seen")
    blend: Literal["trim", "hann"] = Field("trim", alias="rsscale:blend")
    resolution: Annotated[_Number, Field(gt=0)] | None = Field(None, alias="rsscale:resolution")
