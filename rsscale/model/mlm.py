"""Read the STAC Machine Learning Model (MLM) metadata of a model: all fields that decide a map.

The metadata may ask for things that rsscale does not do: another scaling, functions before and
after the network, other dimensions. A field that decides what the network is given, or what its
result means, is honoured or refused by name; it is never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rsscale.errors import RsscaleError
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.legend.palette import class_palette
from rsscale.model.artifacts import expected_framework
from rsscale.model.mlm_inputs import check_inputs, read_inputs, read_layout, window_of
from rsscale.model.mlm_item import tasks_of
from rsscale.model.mlm_reader import MlmReader, expression_name
from rsscale.model.mlm_schema import MlmInput, MlmOutput, MlmProperties
from rsscale.model.model_input import Missing, ModelInput, Seen, TensorLayout
from rsscale.model.outputs import (
    Activation,
    ClassOutput,
    ConformalSets,
    EmbeddingOutput,
    ObjectKind,
    ObjectOutput,
    Output,
    ResultLayout,
    ValueOutput,
)

_CLASS_TASKS = {"segmentation", "semantic-segmentation", "classification", "scene-classification"}
# What objects are by the task of whoever wrote the item.
_OBJECT_TASKS: dict[str, ObjectKind] = {
    "instance-segmentation": "outlines",
    "object-detection": "boxes",
    "detection": "boxes",
}
_TASKS = {*_CLASS_TASKS, *_OBJECT_TASKS, "regression", "similarity-search"}
_CHANNEL = {
    "class": {"class", "classes", "channel", "channels"},
    "value": {"value", "values", "channel", "channels", "bands"},
    "feature": {"feature", "features", "channel", "channels", "embedding"},
}
_SPACE = ["height", "width"]
# One answer for a whole window, as classifiers of scenes give it.
_OF_WINDOW = ["batch", "class"]
# Halo of windows of which only the width is known: so much of it, and in whole steps.
_HALO_SHARE, _HALO_STEP = 8, 8
_ACTIVATIONS: dict[str, Activation] = {"softmax": "softmax", "sigmoid": "sigmoid"}
_FLOATS = ("float16", "float32", "float64", "bfloat16")


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
    missing: Missing = "mean"
    seen: Seen = "any"


def read_mlm(item: Mapping[str, Any]) -> MlmModel:
    """Read the MLM metadata of a STAC item.

    Raises
    ------
    ModelError
        Which names the field: one that is missing or of another type, or one that asks for what
        rsscale does not do.
    """
    reader = _OutputReader(item.get("id"))
    top = reader.parse(MlmProperties, item.get("properties"), "properties")
    reader.check_tasks("mlm:tasks", top.tasks)
    if expected := expected_framework(top.framework, item.get("assets")):
        reader.refuse("mlm:framework", top.framework, expected)
    if len(top.output) != 1:
        reader.refuse("mlm:output", f"{len(top.output)} outputs", "one output is a map")
    declared = reader.parse(MlmOutput, top.output[0], "mlm:output[0]")
    output, classes = reader.output(declared)
    reader.check_same_task(top.tasks, output)
    inputs = [reader.parse(MlmInput, part, f"mlm:input[{n}]") for n, part in enumerate(top.input)]
    if isinstance(output, ObjectOutput):
        inputs = [_of_any_batch(part) for part in inputs]
    check_inputs(reader, inputs)
    of_window = declared.result.dim_order == _OF_WINDOW
    stride, halo = reader.windows(top, inputs, of_window=of_window)
    window = stride + 2 * halo
    result = ResultLayout(
        declared.select, declared.margin, window if of_window else declared.factor
    )
    extras = tuple(reader.quantities("mlm:output[0].rsscale:extras", declared.extras))
    channels = output.channels(classes) + len(extras)
    reader.check_output("mlm:output[0]", declared, output, (channels, result.width(window)))
    layout = read_layout(reader, top, inputs)
    return MlmModel(
        name=top.name,
        architecture=top.architecture,
        hyperparameters=top.hyperparameters or {},
        inputs=tuple(read_inputs(reader, inputs, window)),
        classes=classes,
        stride=stride,
        halo=halo,
        blend=top.blend,
        resolution=top.resolution,
        output=output,
        layout=layout,
        result=result,
        extras=extras,
        missing=top.missing,
        seen=top.seen,
    )


def _of_any_batch(declared: MlmInput) -> MlmInput:
    """An input of one window at a time as one of any number: objects are found one by one."""
    shape = declared.input.shape
    if shape[:1] != [1]:
        return declared
    return declared.model_copy(
        update={"input": declared.input.model_copy(update={"shape": [-1, *shape[1:]]})}
    )


class _OutputReader(MlmReader):
    """Reads the output of an item, and its windows."""

    def check_tasks(self, place: str, tasks: Sequence[str] | None) -> None:
        others = [task for task in tasks or () if task not in _TASKS]
        if others:
            self.refuse(
                place,
                others[0],
                "rsscale maps classes (semantic-segmentation, classification), values "
                "(regression) and embeddings (similarity-search), and finds objects "
                "(object-detection, instance-segmentation)",
            )

    def check_same_task(self, tasks: Sequence[str] | None, output: Output) -> None:
        """Refuse an item whose tasks leave out that of its one output."""
        own = _CLASS_TASKS if isinstance(output, ClassOutput) else set(tasks_of(output))
        if isinstance(output, ObjectOutput):
            own = set(_OBJECT_TASKS)
        if tasks and not own & set(tasks):
            self.refuse(
                "mlm:tasks",
                tasks[0],
                f"its output is one of {tasks_of(output)[0]}; correct the one that is wrong",
            )

    def windows(
        self, top: MlmProperties, inputs: Sequence[MlmInput], *, of_window: bool
    ) -> tuple[int, int]:
        """Stride and halo; from the width of the inputs where they are not said."""
        stride, halo = top.stride, top.halo
        if of_window and halo:
            self.refuse(
                "mlm:output[0].result.dim_order",
                _OF_WINDOW,
                f"with rsscale:halo {halo} numbers come as (batch, class, height, width); one "
                "answer for a whole window has a halo of 0",
            )
        width = window_of(inputs)
        if stride is None and halo is None and width is not None:
            halo = 0 if of_window else width // _HALO_SHARE // _HALO_STEP * _HALO_STEP
            return width - 2 * halo, halo
        for name, value in (("rsscale:stride", stride), ("rsscale:halo", halo)):
            if value is None:
                self.fail(
                    f"{name}: missing, and no input has a width of its own; it says on which "
                    "windows the network works: stride (the core of a window) and halo (its "
                    "context on each side), in pixels"
                )
        if not stride:
            self.fail("rsscale:stride: is 0; it must be at least 1 px")
        return stride or 0, halo or 0

    def output(self, declared: MlmOutput) -> tuple[Output, tuple[LandClass, ...]]:
        """What the result is: classes, values, an embedding or objects; and the classes."""
        place = "mlm:output[0]"
        self.check_tasks(f"{place}.tasks", declared.tasks)
        kinds = [_OBJECT_TASKS[task] for task in declared.tasks or () if task in _OBJECT_TASKS]
        if declared.objects is not None or kinds:
            return self._objects(declared, kinds), self._classes(declared)
        activation = self._activation(declared)
        if declared.values is not None:
            return ValueOutput(
                tuple(self.quantities(f"{place}.rsscale:values", declared.values))
            ), ()
        if declared.embedding is not None:
            return self._embedding(declared), ()
        sets = declared.conformal
        conformal = ConformalSets(sets.level, tuple(sets.thresholds)) if sets else None
        output = ClassOutput(activation, declared.temperature, conformal)
        return output, self._classes(declared)

    def _objects(self, declared: MlmOutput, kinds: Sequence[ObjectKind]) -> ObjectOutput:
        """Objects as rsscale: keys say them, or by their task alone."""
        if declared.post_processing_function is not None:
            self.refuse(
                "mlm:output[0].post_processing_function",
                expression_name(declared.post_processing_function),
                "boxes are taken as the network returns them; put what is done to them into the "
                "network and set this to null",
            )
        if declared.objects is None:
            return ObjectOutput("outlines" if "outlines" in kinds else "boxes")
        try:
            return ObjectOutput(**declared.objects.model_dump())
        except RsscaleError as error:
            return self.fail(f"mlm:output[0].rsscale:objects: {error}")

    def _activation(self, declared: MlmOutput) -> Activation:
        """What turns scores into probabilities: softmax and sigmoid by their names."""
        function = declared.post_processing_function
        if function is None:
            return declared.activation
        name = str(expression_name(function)).lower().rsplit(".", 1)[-1].rsplit(":", 1)[-1]
        is_of_classes = declared.values is None and declared.embedding is None
        if is_of_classes and name in _ACTIVATIONS:
            return _ACTIVATIONS[name]
        return self.refuse(
            "mlm:output[0].post_processing_function",
            expression_name(function),
            "rsscale takes class scores and applies softmax or sigmoid; put any other function "
            "into the network and set this to null",
        )

    def _classes(self, declared: MlmOutput) -> tuple[LandClass, ...]:
        place = "mlm:output[0]"
        tasks = declared.tasks or ["semantic-segmentation"]
        if declared.objects is None and not {*_CLASS_TASKS, *_OBJECT_TASKS} & set(tasks):
            self.refuse(
                f"{place}.tasks",
                tasks[0],
                "of an output without rsscale:values or rsscale:embedding it is "
                "semantic-segmentation or classification",
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
        colors = class_palette([c.name for c in declared.classes])
        return tuple(
            LandClass(c.value, c.name, f"#{c.color_hint.lower()}" if c.color_hint else color)
            for c, color in zip(declared.classes, colors, strict=True)
        )

    def quantities(self, place: str, values: Sequence[Mapping[str, Any]]) -> list[Layer]:
        """Layers that are described in a list."""
        layers = []
        for number, content in enumerate(values):
            try:
                layers.append(Layer.parse({"axis": None, "nodata": "nan", **content}))
            except (TypeError, ValueError, KeyError, RsscaleError) as error:
                reason = " ".join(str(error).split())[:200]
                self.fail(
                    f"{place}[{number}]: {reason}; expected a layer: name, dtype, "
                    "nodata, scale, offset, overview and attributes"
                )
        return layers

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
        if isinstance(output, ObjectOutput):
            self._check_boxes(place, declared, output)
            return
        axis = "class"
        if not isinstance(output, ClassOutput):
            axis = "value" if isinstance(output, ValueOutput) else "feature"
        order = result.dim_order
        if order == _OF_WINDOW:
            self.check_shape(f"{place}.shape", result.shape, (size[0],))
            return
        fits = len(order) == 4 and order[0] == "batch" and order[1] in _CHANNEL[axis]
        if not fits or order[2:] != _SPACE:
            self.refuse(
                f"{place}.dim_order", order, f"numbers come as (batch, {axis}, height, width)"
            )
        channels, width = size
        self.check_shape(f"{place}.shape", result.shape, (channels, width, width))
        if result.data_type not in _FLOATS:
            self.refuse(f"{place}.data_type", result.data_type, "scores are floating point numbers")

    def _check_boxes(self, place: str, declared: MlmOutput, output: ObjectOutput) -> None:
        """The declared result must be boxes, and no numbers for pixels."""
        result = declared.result
        if set(_SPACE) & set(result.dim_order):
            self.refuse(
                f"{place}.dim_order",
                result.dim_order,
                "boxes come as (batch, detection, box), with labels and scores beside them",
            )
        numbers = 5 if output.kind == "oriented" else 4
        if len(result.shape) == 3 and result.shape[-1] not in (-1, numbers):
            self.refuse(
                f"{place}.shape",
                result.shape,
                f"a box of the kind {output.kind!r} has {numbers} numbers, with labels and scores "
                "beside it",
            )
        if result.data_type not in _FLOATS:
            self.refuse(f"{place}.data_type", result.data_type, "boxes are floating point numbers")
