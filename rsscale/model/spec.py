"""The contract of a model, written as STAC Machine Learning Model (MLM) metadata.

A :class:`ModelSpec` says what a model reads (named inputs, bands in order, time windows or series,
normalisation), on which windows it works, and what it returns. It is checked against a cube before
any work is done. On disk it is a STAC item with the MLM extension
(https://github.com/stac-extensions/mlm, v1.5), so that other tools can read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from rsscale.errors import ModelError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.map_layers import OBJECTS_ARE_ROWS, choose_layers
from rsscale.model.mlm import read_mlm
from rsscale.model.mlm_item import (
    ANY_TIME,
    MLM_SCHEMA,
    bands_to_stac,
    inputs_to_mlm,
    output_to_mlm,
    tasks_of,
)
from rsscale.model.model_input import ANY_WINDOW, Missing, ModelInput, Seen, TensorLayout
from rsscale.model.outputs import (
    OBSERVATIONS,
    ClassOutput,
    ObjectOutput,
    Output,
    ResultLayout,
)


@dataclass(frozen=True)
class ModelSpec:
    """Contract of a model: inputs, windows and output.

    Attributes
    ----------
    name : str
        Also the id of the STAC item.
    inputs : tuple of ModelInput
        The channel order is theirs: input by input, time by time, band by band.
    classes : tuple of LandClass
        In the order of the model's output channels; empty for values and embeddings.
    lattice : Lattice
        Stride and halo of the windows, px, and how they are blended.
    architecture : str
        A name that :func:`rsscale.open_model` knows, e.g. ``"unet"``.
    hyperparameters : mapping
        Arguments of the architecture.
    resolution : float or None
        Pixel width that the model was trained at, in metres on the ground, or in degrees where
        the CRS counts those.
    output : ClassOutput, ValueOutput, EmbeddingOutput or ObjectOutput
        What the network's numbers are.
    layout : str
        How the network takes its inputs. ``"channels"``: one tensor ``(N, C, H, W)``.
        ``"series"``: of the one input ``(N, T, B, H, W)``. ``"mapping"``: a dict of input name to
        ``(N, T, B, H, W)``, with what its inputs take besides.
    result : ResultLayout
        Which of what it returns is the result, and where that lies in the window.
    extras : tuple of Layer
        Further numbers that it returns for each pixel, a channel each, after those of the output:
        such as how far the members of an ensemble disagree.
    missing : str
        What the network is given where a value is missing. ``"mean"``: 0, the scaled mean.
        ``"nan"``: NaN, for models that know what to do with it, such as gradient boosting.
    seen : str
        Which inputs must have seen a pixel, else it is nodata. ``"any"`` of those that count their
        observations; ``"all"``, for models that compare: each must have a value, so that nothing
        is told of what one of two dates has not seen.
    """

    name: str
    inputs: tuple[ModelInput, ...]
    classes: tuple[LandClass, ...]
    lattice: Lattice
    architecture: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    resolution: float | None = None
    output: Output = field(default_factory=ClassOutput)
    layout: TensorLayout = "channels"
    result: ResultLayout = field(default_factory=ResultLayout)
    extras: tuple[Layer, ...] = ()
    missing: Missing = "mean"
    seen: Seen = "any"

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ModelError(f"model {self.name!r} needs at least one input")
        self.output.check(self.name, self.classes)
        for noun, values in (
            ("class names", [c.name for c in self.classes]),
            ("class values", [c.value for c in self.classes]),
            ("input names", [i.name for i in self.inputs]),
            ("layers", [layer.name for layer in self._every_layer()]),
        ):
            if len(set(values)) < len(values):
                raise ModelError(f"model {self.name!r} has repeated {noun}: {values}")
        self._check_layout()
        self._check_result()
        self._check_objects()

    def _check_layout(self) -> None:
        if self.missing not in get_args(Missing):
            raise ModelError(
                f"model {self.name!r} says missing: {self.missing!r}; expected 'mean' or 'nan'"
            )
        if self.seen not in get_args(Seen):
            raise ModelError(
                f"model {self.name!r} says seen: {self.seen!r}; expected 'any' or 'all' of its "
                "inputs"
            )
        if self.layout not in get_args(TensorLayout):
            raise ModelError(
                f"model {self.name!r} has the layout {self.layout!r}; expected one of "
                f"{', '.join(get_args(TensorLayout))}{nearest(self.layout, get_args(TensorLayout))}"
            )
        extra = [i.name for i in self.inputs if i.takes]
        if self.layout == "series" and len(self.inputs) > 1:
            raise ModelError(
                f"model {self.name!r} has the layout 'series' and {len(self.inputs)} inputs; a "
                "network of several inputs takes a 'mapping'"
            )
        if extra and self.layout != "mapping":
            raise ModelError(
                f"model {self.name!r}: input {extra[0]!r} takes days or validity beside its "
                f"values, which the layout {self.layout!r} has no place for; use 'mapping'"
            )

    def _check_result(self) -> None:
        result, lattice = self.result, self.lattice
        inner = lattice.window - 2 * result.margin
        if inner < 1 or inner % result.factor:
            raise ModelError(
                f"model {self.name!r}: a window of {lattice.window} px less {result.margin} px on "
                f"each side is no whole number of pixels of {result.factor} px; change stride or "
                "halo"
            )
        reach = 0 if lattice.blend == "hann" else lattice.halo
        if result.margin > reach:
            raise ModelError(
                f"model {self.name!r} has no result for {result.margin} px along its windows' "
                f"edges, of which {reach} px may be missing: use a halo of {result.margin} px or "
                "more, with blend: trim"
            )
        if result.factor > 1 and (lattice.stride % result.factor or lattice.halo % result.factor):
            raise ModelError(
                f"model {self.name!r} returns one number for {result.factor} px along each side; "
                f"stride {lattice.stride} and halo {lattice.halo} must be multiples of that, so "
                "that the same pixels are joined in every window"
            )

    def _check_objects(self) -> None:
        """Refuse what is of pixels in a contract of objects."""
        if not self.finds_objects:
            return
        of_pixels = {
            f"blend {self.lattice.blend!r}": self.lattice.blend != "trim",
            f"{self.result}": self.result != ResultLayout(self.result.select),
            f"extras {[layer.name for layer in self.extras]}": bool(self.extras),
        }
        wrong = [key for key, is_said in of_pixels.items() if is_said]
        if wrong:
            raise ModelError(
                f"model {self.name!r} finds objects and has the {wrong[0]}, which is of numbers "
                "for pixels; leave it out"
            )

    @property
    def finds_objects(self) -> bool:
        """Whether it finds objects, which are rows, and maps no pixels."""
        return isinstance(self.output, ObjectOutput)

    @property
    def objects(self) -> ObjectOutput:
        """The output of a model that finds objects.

        Raises
        ------
        ModelError
            For a model that maps pixels.
        """
        if not isinstance(self.output, ObjectOutput):
            raise ModelError(
                f"model {self.name!r} maps {', '.join(self.layer_names)}, and finds no objects: "
                "use rsscale.predict, or a step of kind 'predict' in a recipe"
            )
        return self.output

    def check_maps(self) -> None:
        """Refuse a model that finds objects where pixels are mapped.

        Raises
        ------
        ModelError
        """
        if self.finds_objects:
            raise ModelError(f"model {self.name!r}: {OBJECTS_ARE_ROWS}")

    @property
    def channels(self) -> int:
        """Channels of the network: the sum over all inputs."""
        return sum(i.channels for i in self.inputs)

    @property
    def output_channels(self) -> int:
        """Numbers that the network returns for a pixel; classes where it finds objects."""
        return self.output.channels(self.classes) + len(self.extras)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """All layers that its map may have, the usual ones and those that are written if asked."""
        return tuple(layer.name for layer in self._every_layer())

    def _every_layer(self) -> tuple[Layer, ...]:
        if self.finds_objects:
            return ()
        return (*self.output.layers(self.classes), OBSERVATIONS, *self.extras)

    def layers(self, names: Sequence[str] | None = None) -> tuple[Layer, ...]:
        """Layers of its map by name; the usual ones when omitted.

        Raises
        ------
        RecipeError
            For a name that is none.
        ModelError
            For a model that finds objects.
        """
        self.check_maps()
        return choose_layers(names, self.output, self.classes, self.extras)

    def input(self, name: str) -> ModelInput:
        """The input with this name."""
        for model_input in self.inputs:
            if model_input.name == name:
                return model_input
        names = [i.name for i in self.inputs]
        raise ModelError(
            f"model {self.name!r} has no input {name!r}; it has {names}{nearest(name, names)}"
        )

    def check_input(self, name: str, bands: Sequence[str], times: Sequence[str] | None) -> None:
        """Refuse an input whose bands or time windows are not the model's.

        Bands may come in another order, and there may be more of them: they are picked by
        name. Time windows must be the same in the same order, since a model can't tell them
        apart. ``times`` is None for a series of observations.
        """
        want = self.input(name)
        missing = [b for b in want.bands if b not in bands]
        if missing:
            meant = nearest(missing[0], bands)
            raise ModelError(
                f"model {self.name!r} wants band {missing[0]!r} of input {name!r}, which has "
                f"{list(bands)}{meant}{' Else' if meant else ';'} add it to the recipe's bands"
            )
        if want.series and times is not None:
            raise ModelError(
                f"model {self.name!r} wants a series of observations of input {name!r}, which has "
                f"the time windows {list(times)}; use the observations themselves (rsscale.series, "
                "'series: true' in a recipe)"
            )
        if not want.series and times is None:
            raise ModelError(
                f"model {self.name!r} wants the time windows {list(want.times)} of input {name!r}, "
                "which is a series of observations; composite it as the model was trained"
            )
        if want.times == (ANY_WINDOW,) and times is not None and len(times) == 1:
            return
        if times is not None and tuple(times) != want.times:
            raise ModelError(
                f"model {self.name!r} wants the time windows {list(want.times)} of input {name!r}, "
                f"the composite has {list(times)}; use the composite that the model was trained on"
            )

    def to_item(
        self, geometry: Mapping[str, Any] | None = None, **properties: Any
    ) -> dict[str, Any]:
        """The STAC item with MLM metadata.

        Parameters
        ----------
        geometry : GeoJSON mapping, optional
            Where the model was trained, EPSG:4326.
        **properties
            More item properties; ``datetime`` or ``start_datetime`` and ``end_datetime`` say
            when the training imagery was taken. Without them the item is for all times.
        """
        import shapely.geometry

        item: dict[str, Any] = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [MLM_SCHEMA],
            "id": self.name,
            "geometry": geometry,
            "properties": {
                "datetime": None,
                **({} if properties.get("datetime") else ANY_TIME),
                "bands": bands_to_stac(self.inputs),
                "mlm:name": self.name,
                "mlm:architecture": self.architecture,
                "mlm:framework": "pytorch",
                "mlm:tasks": tasks_of(self.output),
                "mlm:input": inputs_to_mlm(
                    self.inputs, self.layout, self.lattice.window, self.missing
                ),
                "mlm:output": [
                    output_to_mlm(
                        self.output, self.classes, self.result, self.lattice.window, self.extras
                    )
                ],
                **({} if self.layout == "channels" else {"rsscale:layout": self.layout}),
                "rsscale:missing": self.missing,
                **({} if self.seen == "any" else {"rsscale:seen": self.seen}),
                "rsscale:stride": self.lattice.stride,
                "rsscale:halo": self.lattice.halo,
                "rsscale:blend": self.lattice.blend,
                "rsscale:resolution": self.resolution,
                **properties,
            },
            "links": [],
            "assets": {},
        }
        if self.hyperparameters:  # MLM wants at least one, or none at all
            item["properties"]["mlm:hyperparameters"] = dict(self.hyperparameters)
        if geometry is not None:
            item["bbox"] = list(shapely.geometry.shape(geometry).bounds)
        return item

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> ModelSpec:
        """Read the contract back from a STAC item with MLM metadata.

        Raises
        ------
        ModelError
            When a field that is needed is not there, or one asks for what rsscale does not do, such
            as a function before the network; the message names it.
        """
        read = read_mlm(item)
        return cls(
            name=read.name,
            inputs=read.inputs,
            classes=read.classes,
            lattice=Lattice(read.stride, read.halo, read.blend),
            architecture=read.architecture,
            hyperparameters=read.hyperparameters,
            resolution=read.resolution,
            output=read.output,
            layout=read.layout,
            result=read.result,
            extras=read.extras,
            missing=read.missing,
            seen=read.seen,
        )
