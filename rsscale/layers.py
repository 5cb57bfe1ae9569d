"""What a layer of a product is, and the key of one tile of it.

A layer has a name, a type, a nodata, perhaps a further axis, and a rule for its overviews. Nothing
here computes or does I/O: stores, passes and models all speak of layers in these words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest

NODATA = 255
"""Nodata of layers of classes and percents: outside of every class value, 0 to 254."""

DataType = Literal["uint8", "int8", "uint16", "int16", "float32"]
Overview = Literal["mode", "mean", "nearest", "none"]


class YearPair(NamedTuple):
    """Two years that something changed between: what is of the one and the other, together."""

    before: int
    after: int

    @property
    def span(self) -> str:
        """As tiles have it: ``"2023-2024"``."""
        return f"{self.before}-{self.after}"

    def __repr__(self) -> str:
        return self.span


BEFORE, AFTER = YearPair._fields
"""Names of the inputs of a model of two dates."""

Period = int | YearPair
"""What a label is true for, and imagery is read of: a year, or two that are compared."""


def year_of(period: Period, name: str) -> int:
    """The year that an input is read of: the period, or that of its name of a pair."""
    if not isinstance(period, YearPair):
        return period
    return period.before if name == BEFORE else period.after


@dataclass(frozen=True)
class Axis:
    """An axis of a layer beside time, y and x: classes, features, components.

    Attributes
    ----------
    name : str
        Name of the dimension; layers of one product that share a name share the values.
    values : tuple of int
        The coordinate along it.
    chunk : int, optional
        Values in one stored object; as many as keep it below 300 MB when omitted.
    """

    name: str
    values: tuple[int, ...]
    chunk: int | None = None

    def __post_init__(self) -> None:
        if not self.values or self.name in ("time", "y", "x"):
            raise RecipeError(
                f"an axis is called {self.name!r} and has {len(self.values)} values; it needs at "
                "least one, and a name that is not 'time', 'y' or 'x'"
            )


@dataclass(frozen=True)
class Layer:
    """One layer that a pass writes: ``(time, y, x)``, or ``(time, axis, y, x)`` with an axis.

    Attributes
    ----------
    name : str
        The variable's name.
    dtype : str
        ``"uint8"``, ``"int8"``, ``"uint16"``, ``"int16"`` or ``"float32"``.
    nodata : float
        What a pixel without a value holds, and one that was never written. When omitted, NaN for
        float32, whose numbers are all values, and 255 for integers. A float32 layer may have a
        number as nodata where it is given; NaN counts as no value then, too.
    axis : Axis, optional
        A dimension between time and y.
    scale, offset : float
        The physical value is ``scale * stored + offset`` (CF ``scale_factor``, ``add_offset``);
        only for layers of integers.
    overview : str
        How overviews reduce it: ``"mode"`` for classes, ``"mean"`` for quantities, ``"nearest"``
        for codes without either, ``"none"``: no overviews.
    attributes : mapping
        CF attributes, such as ``long_name``, ``units``, ``flag_values``.
    """

    name: str
    dtype: DataType = "uint8"
    nodata: float = cast("float", None)  # by its type, see __post_init__
    axis: Axis | None = None
    scale: float = 1.0
    offset: float = 0.0
    overview: Overview = "nearest"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in get_args(DataType):
            raise RecipeError(
                f"layer {self.name!r} has the type {self.dtype!r}; expected one of "
                f"{', '.join(get_args(DataType))}{nearest(self.dtype, get_args(DataType))}"
            )
        if self.overview not in get_args(Overview):
            raise RecipeError(
                f"layer {self.name!r} has overviews by {self.overview!r}; expected one of "
                f"{', '.join(get_args(Overview))}{nearest(self.overview, get_args(Overview))}"
            )
        if cast("float | None", self.nodata) is None:
            object.__setattr__(self, "nodata", math.nan if self.is_float else NODATA)
        if not self.is_float and not _holds(self.numpy_dtype, self.nodata):
            raise RecipeError(
                f"layer {self.name!r} has the nodata {self.nodata}, which is no {self.dtype}; "
                "choose a value of its type"
            )
        if self.is_scaled and self.is_float:
            raise RecipeError(
                f"layer {self.name!r} is {self.dtype} and has a scale or offset; scale integers, "
                "or write the values themselves"
            )

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The type as NumPy knows it."""
        return np.dtype(self.dtype)

    @property
    def is_float(self) -> bool:
        """Whether it holds floats, so that NaN is no value too."""
        return self.numpy_dtype.kind == "f"

    @property
    def is_scaled(self) -> bool:
        """Whether the stored numbers are not the physical values."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def depth(self) -> int:
        """Values of a pixel: the length of the axis, or one."""
        return len(self.axis.values) if self.axis else 1

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel, all values of the axis together."""
        return self.depth * self.numpy_dtype.itemsize

    def dims(self) -> tuple[str, ...]:
        """Dimensions of one tile: ``(y, x)``, or ``(axis, y, x)``."""
        return (self.axis.name, "y", "x") if self.axis else ("y", "x")

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of one tile."""
        return (self.depth, height, width) if self.axis else (height, width)

    def is_valid(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where values are none of nodata (nor NaN)."""
        if not self.is_float:
            return np.asarray(values != self.numpy_dtype.type(self.nodata))
        valid: npt.NDArray[np.bool_] = ~np.isnan(values)
        if not math.isnan(self.nodata):
            valid &= values != np.float32(self.nodata)
        return valid

    def cf_attributes(self) -> dict[str, Any]:
        """Its own attributes, and nodata, scale and offset as CF has them."""
        scaling: dict[str, Any] = {}
        if self.is_scaled:
            # With a scale the decoded values are floats, so that nodata may become NaN.
            scaling = {
                "scale_factor": self.scale,
                "add_offset": self.offset,
                "_FillValue": int(self.nodata),
            }
        # `_FillValue` would make xarray return float32 also for layers of plain integers; and JSON
        # has no NaN, which Zarr's own fill value is anyway.
        nodata = {} if math.isnan(self.nodata) else {"nodata": _plain(self.nodata)}
        return {**self.attributes, **scaling, **nodata}

    def describe(self) -> dict[str, Any]:
        """What decides the bytes of a tile, for JSON; see :meth:`parse`."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "nodata": "nan" if math.isnan(self.nodata) else _plain(self.nodata),
            "axis": [self.axis.name, list(self.axis.values), self.axis.chunk]
            if self.axis
            else None,
            "scale": self.scale,
            "offset": self.offset,
            "overview": self.overview,
            "attributes": dict(self.attributes),
        }

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Layer:
        """Read back what :meth:`describe` gave."""
        axis = content["axis"]
        return cls(
            **{
                **content,
                "nodata": float(content["nodata"]),
                "axis": Axis(axis[0], tuple(axis[1]), axis[2]) if axis else None,
            }
        )


@dataclass(frozen=True, order=True)
class TileKey:
    """Which tile of which step: the unit of work. Small, since it travels.

    Attributes
    ----------
    step : str
        Name of the step.
    span : str
        Period or periods: ``"2023"``, ``"2023-2024"``, ``"all"``.
    ix, iy : int
        Index of the tile on the grid of its level; ``iy`` grows north.
    level : int
        0 is the grid's own resolution; each level has pixels twice as wide.
    """

    step: str
    span: str
    ix: int
    iy: int
    level: int = 0

    @property
    def tile(self) -> str:
        """The tile's name: unique within step and span."""
        level = f"_l{self.level}" if self.level else ""
        return f"x{self.ix}_y{self.iy}{level}"

    def __str__(self) -> str:
        return f"{self.step}/{self.span}/{self.tile}"


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _plain(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value
