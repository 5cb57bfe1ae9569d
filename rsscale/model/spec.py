"""The contract of a model, written as STAC Machine Learning Model (MLM) metadata.

A :class:`ModelSpec` says what a model reads (named inputs, bands in order, time windows,
normalisation), on which windows it works, and which classes it tells apart. It is checked
against a cube before any work is done. On disk it is a STAC item with the MLM extension
(https://github.com/stac-extensions/mlm, v1.5), so that other tools can read it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rsscale.errors import ModelError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.layers import NODATA

if TYPE_CHECKING:
    import torch

_MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class LandClass:
    """One class of a map.

    Attributes
    ----------
    value : int
        The value in the map, 0 to 254; 255 is nodata.
    name : str
        Unique within a model; what labels call it.
    color : str
        ``"#rrggbb"``.
    """

    value: int
    name: str
    color: str

    def __post_init__(self) -> None:
        if not 0 <= self.value < NODATA:
            raise ModelError(
                f"class {self.name!r} has value {self.value}; values are 0 to 254, 255 is nodata"
            )
        if not _COLOR.fullmatch(self.color):
            raise ModelError(f"class {self.name!r} has colour {self.color!r}; expected '#rrggbb'")


def class_attributes(classes: Sequence[LandClass]) -> dict[str, Any]:
    """CF attributes of a layer of class values: flag values, meanings and colours."""
    return {
        "flag_values": [c.value for c in classes],
        "flag_meanings": " ".join(c.name.replace(" ", "_") for c in classes),
        "flag_colors": " ".join(c.color for c in classes),
        # As they are written: a flag meaning can't hold a blank.
        "class_names": [c.name for c in classes],
    }


def classes_from_attributes(attributes: Mapping[Any, Any]) -> tuple[LandClass, ...]:
    """The classes of a layer of class values, from its CF attributes.

    Raises
    ------
    ModelError
        When they are not there.
    """
    if not {"flag_values", "flag_meanings", "flag_colors"} <= attributes.keys():
        raise ModelError(
            "a layer lacks flag_values, flag_meanings or flag_colors, so its classes are not "
            "known; use one as rsscale.predict or a product gives it"
        )
    names = attributes.get("class_names", attributes["flag_meanings"].split())
    return tuple(
        LandClass(int(value), str(name), color)
        for value, name, color in zip(
            _listed(attributes["flag_values"]),
            _listed(names),
            attributes["flag_colors"].split(),
            strict=True,
        )
    )


def _listed(value: Any) -> list[Any]:
    """A list; attributes of one value come back from some stores as the value alone."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True)
class ModelInput:
    """One named input of a model.

    Attributes
    ----------
    name : str
        The input's name in the recipe, e.g. ``"s2"``.
    bands : tuple of str
        Bands in channel order.
    times : tuple of str
        Names of the composite's time windows in order, e.g. ``("spring", "summer")``.
    mean, std : tuple of float
        Per band, in the units of the composite (reflectance): ``(x - mean) / std``.
    """

    name: str
    bands: tuple[str, ...]
    times: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.bands or not self.times:
            raise ModelError(f"model input {self.name!r} has no bands or no time windows")
        if not len(self.mean) == len(self.std) == len(self.bands):
            raise ModelError(
                f"model input {self.name!r} has {len(self.bands)} bands, {len(self.mean)} means "
                f"and {len(self.std)} standard deviations; expected one of each per band"
            )
        if not all(math.isfinite(m) for m in self.mean) or not all(
            0 < s < math.inf for s in self.std
        ):
            raise ModelError(
                f"model input {self.name!r}: means must be finite and standard deviations positive"
            )

    @property
    def channels(self) -> int:
        """Time windows times bands."""
        return len(self.times) * len(self.bands)


@dataclass(frozen=True)
class ModelSpec:
    """Contract of a model: inputs, windows and classes.

    Attributes
    ----------
    name : str
        Also the id of the STAC item.
    inputs : tuple of ModelInput
        The channel order is theirs: input by input, time by time, band by band.
    classes : tuple of LandClass
        In the order of the model's output channels.
    lattice : Lattice
        Stride and halo of the windows, px, and how they are blended.
    architecture : str
        A name that :func:`rsscale.open_model` knows, e.g. ``"unet"``.
    hyperparameters : mapping
        Arguments of the architecture.
    resolution : float or None
        Pixel width that the model was trained at, in metres or degrees.
    """

    name: str
    inputs: tuple[ModelInput, ...]
    classes: tuple[LandClass, ...]
    lattice: Lattice
    architecture: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    resolution: float | None = None

    def __post_init__(self) -> None:
        if not self.inputs or not self.classes:
            raise ModelError(f"model {self.name!r} needs at least one input and one class")
        for what, values in (
            ("class names", [c.name for c in self.classes]),
            ("class values", [c.value for c in self.classes]),
            ("input names", [i.name for i in self.inputs]),
        ):
            if len(set(values)) < len(values):
                raise ModelError(f"model {self.name!r} has repeated {what}: {values}")

    @property
    def channels(self) -> int:
        """Channels of the network: the sum over all inputs."""
        return sum(i.channels for i in self.inputs)

    def input(self, name: str) -> ModelInput:
        """The input with this name."""
        for one in self.inputs:
            if one.name == name:
                return one
        names = [i.name for i in self.inputs]
        raise ModelError(
            f"model {self.name!r} has no input {name!r}; it has {names}{nearest(name, names)}"
        )

    def check_input(self, name: str, bands: Sequence[str], times: Sequence[str]) -> None:
        """Refuse an input whose bands or time windows are not the model's.

        Bands may come in another order, and there may be more of them: they are picked by
        name. Time windows must be the same in the same order, since a model can't tell them
        apart.
        """
        want = self.input(name)
        missing = [b for b in want.bands if b not in bands]
        if missing:
            raise ModelError(
                f"model {self.name!r} wants band {missing[0]!r} of input {name!r}, which has "
                f"{list(bands)}{nearest(missing[0], bands)}; add it to the recipe's bands"
            )
        if tuple(times) != want.times:
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
            when the training imagery was taken.
        """
        import shapely.geometry

        item: dict[str, Any] = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [_MLM],
            "id": self.name,
            "geometry": geometry,
            "properties": {
                "datetime": None,
                "bands": [
                    {"name": b} for b in dict.fromkeys(b for i in self.inputs for b in i.bands)
                ],
                "mlm:name": self.name,
                "mlm:architecture": self.architecture,
                "mlm:framework": "pytorch",
                "mlm:tasks": ["semantic-segmentation"],
                "mlm:input": [_input_to_mlm(i, self.lattice.window) for i in self.inputs],
                "mlm:output": [self._output_to_mlm()],
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

    def _output_to_mlm(self) -> dict[str, Any]:
        width = self.lattice.window
        return {
            "name": "classification",
            "tasks": ["semantic-segmentation"],
            "result": {
                "shape": [-1, len(self.classes), width, width],
                "dim_order": ["batch", "class", "height", "width"],
                "data_type": "float32",
            },
            "classification:classes": [
                {"value": c.value, "name": c.name, "color_hint": c.color[1:].upper()}
                for c in self.classes
            ],
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> ModelSpec:
        """Read the contract back from a STAC item with MLM metadata.

        Raises
        ------
        ModelError
            When a field that is needed is not there; the message names it.
        """
        properties = item.get("properties", {})
        try:
            return cls(
                name=properties["mlm:name"],
                inputs=tuple(_input_from_mlm(i) for i in properties["mlm:input"]),
                classes=tuple(_class_from_mlm(c) for c in _mlm_classes(properties)),
                lattice=Lattice(
                    int(properties["rsscale:stride"]),
                    int(properties["rsscale:halo"]),
                    properties.get("rsscale:blend", "trim"),
                ),
                architecture=properties["mlm:architecture"],
                hyperparameters=properties.get("mlm:hyperparameters", {}),
                resolution=properties.get("rsscale:resolution"),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"the MLM item {item.get('id')!r} lacks {error}; "
                "a model for rsscale needs mlm:name, mlm:architecture, mlm:input with z-score "
                "scaling, mlm:output with classes, rsscale:stride and rsscale:halo"
            ) from error


class Predictor(Protocol):
    """Protocol of a model for :func:`rsscale.predict`: its contract, and a call."""

    @property
    def spec(self) -> ModelSpec:
        """The contract."""

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax.

        ``(N, channels, H, W)`` float32, normalised, missing values 0, to
        ``(N, classes, H, W)``.
        """

    @property
    def device(self) -> torch.device:
        """Device of the weights."""


def _input_to_mlm(model_input: ModelInput, width: int) -> dict[str, Any]:
    return {
        "name": model_input.name,
        "bands": list(model_input.bands),
        "input": {
            "shape": [-1, len(model_input.times), len(model_input.bands), width, width],
            "dim_order": ["batch", "time", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": m, "stddev": s}
            for m, s in zip(model_input.mean, model_input.std, strict=True)
        ],
        "rsscale:times": list(model_input.times),
    }


def _input_from_mlm(field_: Mapping[str, Any]) -> ModelInput:
    scaling = field_["value_scaling"]
    bands = tuple(b if isinstance(b, str) else b["name"] for b in field_["bands"])
    if len(scaling) == 1:  # MLM: one object stands for all bands
        scaling = list(scaling) * len(bands)
    return ModelInput(
        name=field_["name"],
        bands=bands,
        times=tuple(field_["rsscale:times"]),
        mean=tuple(float(s["mean"]) for s in scaling),
        std=tuple(float(s["stddev"]) for s in scaling),
    )


def _mlm_classes(properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    classes: list[Mapping[str, Any]] = properties["mlm:output"][0]["classification:classes"]
    return classes


def _class_from_mlm(entry: Mapping[str, Any]) -> LandClass:
    return LandClass(int(entry["value"]), entry["name"], "#" + entry["color_hint"].lower())
