"""Values of layers and rasters of classes as uint8: whole numbers, nodata as it is declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.text.wording import counted

# Attributes and encodings by which layers say their nodata.
_NODATA_KEYS = ("nodata", "_FillValue", "missing_value")
_MOST_NAMED = 5


def declared_nodata(layer: Any) -> tuple[float, ...]:
    """Values that a DataArray's attributes or encoding declare to be no value.

    Parameters
    ----------
    layer : DataArray
    """
    values: list[float] = []
    for said in (layer.attrs, layer.encoding):
        for key in _NODATA_KEYS:
            for value in np.atleast_1d(said.get(key, [])):
                try:
                    values.append(float(value))
                except (TypeError, ValueError):
                    raise ModelError(
                        f"layer {layer.name!r} has the {key} {str(value)!r}; expected a number"
                    ) from None
    return tuple(dict.fromkeys(values))


def class_values(
    values: npt.NDArray[Any], nodata: Iterable[float] = (), *, holder: str = "the layer"
) -> npt.NDArray[np.uint8]:
    """Values of classes as uint8, 255 where there is none.

    Parameters
    ----------
    values : array of any shape
        Integers, booleans, or floats that are whole numbers.
    nodata : iterable of float
        Values that are none, beside 255 and NaN.
    holder : str
        What holds them, for messages.

    Returns
    -------
    uint8 array
        The same array where nothing is to be done.

    Raises
    ------
    ModelError
        For another type, a value with a fraction, or one outside of 0 to 255 that is not nodata;
        the message names the value and how many pixels hold it.
    """
    kind = values.dtype.kind
    if kind not in "biuf":
        raise ModelError(
            f"{holder} holds {values.dtype}; expected class values: whole numbers from 0 to 254, "
            f"{NODATA} for none"
        )
    none = np.isnan(values) if kind == "f" else None
    for value in nodata:
        if value == NODATA or value != value:  # noqa: PLR0124 -- NaN, which only floats hold
            continue
        equal = values == value
        none = equal if none is None else none | equal
    if values.dtype == np.uint8 and none is None:
        return values
    known = values if none is None else values[~none]
    wrong = (known < 0) | (known > NODATA) if kind != "b" else np.zeros(known.shape, bool)
    if kind == "f":
        wrong |= known != np.rint(known)
    if wrong.any():
        raise ModelError(_refusal(known[wrong], holder))
    if none is None:
        return values.astype(np.uint8)
    return np.where(none, NODATA, values).astype(np.uint8)


def check_known(
    counts: Mapping[int, int] | npt.NDArray[Any], classes: Sequence[LandClass], *, holder: str
) -> None:
    """Refuse values that are no class.

    Parameters
    ----------
    counts : mapping of value to pixels, or uint8 array of values
    classes : sequence of LandClass
    holder : str
        What holds them, for the message.

    Raises
    ------
    ModelError
        With the values, how many pixels hold them, and the classes.
    """
    unknown = unknown_values(counts, classes)
    if unknown:
        raise ModelError(
            f"{holder} holds {named_counts(unknown)}, which is none of its classes "
            f"{listed(classes)}; correct the values, or its flag attributes and nodata"
        )


def unknown_values(
    counts: Mapping[int, int] | npt.NDArray[np.uint8], classes: Sequence[LandClass]
) -> dict[int, int]:
    """Pixels of each value that is neither a class nor 255."""
    known = np.zeros(256, bool)
    known[[NODATA, *(c.value for c in classes)]] = True
    if not isinstance(counts, Mapping):
        values, pixels = np.unique(counts[~known[counts]], return_counts=True)
        counts = dict(zip(values.tolist(), pixels.tolist(), strict=True))
    return {value: count for value, count in sorted(counts.items()) if not known[value]}


def named_counts(counts: Mapping[int, int]) -> str:
    """``"the value 7 (500 pixels)"``, for messages; of many values those with most pixels."""
    most = sorted(counts.items(), key=lambda pair: -pair[1])[:_MOST_NAMED]
    named = ", ".join(f"{value:g} ({counted(count, 'pixel')})" for value, count in most)
    more = f" and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    return f"the value{'s' if len(counts) > 1 else ''} {named}{more}"


def listed(classes: Sequence[LandClass]) -> str:
    """``"1 forest, 2 water"``, for messages."""
    return ", ".join(f"{c.value} {c.name}" for c in classes)


def check_nodata(nodata: Iterable[float], classes: Sequence[LandClass], *, holder: str) -> None:
    """Refuse a declared nodata that is also the value of a class: then neither is known.

    Raises
    ------
    ModelError
    """
    for entry in classes:
        if entry.value in tuple(nodata):
            raise ModelError(
                f"{holder} declares {entry.value} to be nodata, which is its class {entry.name!r}; "
                f"declare another nodata, such as {NODATA}"
            )


def same_classes(first: Sequence[LandClass], second: Sequence[LandClass]) -> bool:
    """Whether two legends give the same names to the same values, in whatever order."""
    return {(c.value, c.name) for c in first} == {(c.value, c.name) for c in second}


def check_same_classes(legends: Mapping[str, Sequence[LandClass]]) -> None:
    """Refuse models of one product, by period, whose classes differ in more than their order.

    Raises
    ------
    ModelError
        With the classes of both.
    """
    (first, legend), *others = legends.items()
    for period, other in others:
        if not same_classes(legend, other):
            raise ModelError(
                f"the models of {first} and {period} have the classes {listed(legend)}, and "
                f"{listed(other)}; one product has one legend: use models of the same classes and "
                "values"
            )


def names_beside(
    names: Mapping[int, str], classes: Sequence[LandClass], *, holder: str
) -> list[str]:
    """Compare what a source of values calls them with the classes of a map.

    Values that only one of the two knows are no contradiction, nor are capitals and blanks.

    Parameters
    ----------
    names : mapping of value to name
        As the source says them.
    classes : sequence of LandClass
        Of the map.
    holder : str
        What holds the names, for messages.

    Returns
    -------
    list of str
        A note where a value has two names: those of another language are the same classes.

    Raises
    ------
    ModelError
        Where a name stands for different values in the two.
    """
    values = {_plain(entry.name): entry.value for entry in classes}
    for value, name in sorted(names.items()):
        if values.get(_plain(name), value) != value:
            raise ModelError(
                f"{holder} calls {value} {name!r}, and the map has the classes {listed(classes)}; "
                "give both the same values for the same classes"
            )
    own = {entry.value: entry.name for entry in classes}
    others = [
        f"{value} {name!r} ({own[value]})"
        for value, name in sorted(names.items())
        if value in own and _plain(own[value]) != _plain(name)
    ]
    if not others:
        return []
    shown = ", ".join(others[:_MOST_NAMED])
    return [f"{holder} has other names than the map for {counted(len(others), 'value')}: {shown}"]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def class_order(own: Sequence[LandClass], legend: Sequence[LandClass]) -> list[int] | None:
    """Where a model has each class of a legend; ``None`` where in the legend's own order."""
    values = [land_class.value for land_class in own]
    order = [values.index(land_class.value) for land_class in legend]
    return None if order == list(range(len(values))) else order


def _refusal(wrong: npt.NDArray[Any], holder: str) -> str:
    values, pixels = np.unique(wrong, return_counts=True)
    named = named_counts(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    return (
        f"{holder} holds {named}; class values are whole numbers from 0 to 254: if that is nodata, "
        "declare it as such, if it is a quantity, this is another layer"
    )
