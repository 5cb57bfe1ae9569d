"""The contract of a model, written as STAC Machine Learning Model (MLM) metadata.

A :class:`ModelSpec` says what a model reads (named inputs, bands in order, time windows,
normalisation), on which windows it works, and which classes it tells apart. It is checked
against a cube before any work is done. On disk it is a STAC item with the MLM extension
(https://github.com/stac-extensions/mlm, v1.5), so that other tools can read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rsscale.errors import ModelError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.legend.classes import LandClass
from rsscale.model.mlm import read_mlm

if TYPE_CHECKING:
    import torch

_MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
# What MLM recommends for a model that is tied to no time: https://github.com/stac-extensions/mlm
_ANY_TIME = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}


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
        Pixel width that the model was trained at, in metres on the ground, or in degrees where
        the CRS counts those.
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
        for model_input in self.inputs:
            if model_input.name == name:
                return model_input
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
            when the training imagery was taken. Without them the item is for all times.
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
                **({} if properties.get("datetime") else _ANY_TIME),
                "bands": [
                    {"name": b} for b in dict.fromkeys(b for i in self.inputs for b in i.bands)
                ],
                "mlm:name": self.name,
                "mlm:architecture": self.architecture,
                "mlm:framework": "pytorch",
                "mlm:tasks": ["semantic-segmentation"],
                "mlm:input": list(self._inputs_to_mlm()),
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

    def _inputs_to_mlm(self) -> Iterator[dict[str, Any]]:
        """Each input as the network gets it: a channel for each band of each time window."""
        first, width = 0, self.lattice.window
        for one in self.inputs:
            described = {} if len(self.inputs) == 1 else {"description": self._part(one, first)}
            yield {
                "name": one.name,
                **described,
                "bands": list(one.bands) * len(one.times),
                "input": {
                    "shape": [-1, one.channels, width, width],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                "value_scaling": [
                    {"type": "z-score", "mean": m, "stddev": s}
                    for m, s in zip(one.mean, one.std, strict=True)
                ]
                * len(one.times),
                "rsscale:times": list(one.times),
            }
            first += one.channels

    def _part(self, one: ModelInput, first: int) -> str:
        return (
            f"channels {first} to {first + one.channels - 1} of the one tensor of {self.channels} "
            "channels that the network takes"
        )

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
            When a field that is needed is not there, or one asks for what rsscale does not do, such
            as a function before the network; the message names it.
        """
        found = read_mlm(item)
        return cls(
            name=found.name,
            inputs=tuple(
                ModelInput(one.name, one.bands, one.times, one.mean, one.std)
                for one in found.inputs
            ),
            classes=tuple(
                LandClass(value, name, f"#{color.lower()}") for value, name, color in found.classes
            ),
            lattice=Lattice(found.stride, found.halo, found.blend),
            architecture=found.architecture,
            hyperparameters=found.hyperparameters,
            resolution=found.resolution,
        )


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
