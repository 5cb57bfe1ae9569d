"""Read the inputs of an MLM item: bands, times, scaling, and what is taken beside the values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rsscale.model.mlm_reader import MlmReader, expression_name
from rsscale.model.mlm_schema import MlmBand, MlmInput, MlmProperties, MlmScaling
from rsscale.model.model_input import ANY_WINDOW, DAYS, VALID, ModelInput, TensorLayout

_SPACE = ["height", "width"]
_IN = (("batch", "bands", *_SPACE), ("batch", "channel", *_SPACE), ("batch", "channels", *_SPACE))
_SERIES = ("batch", "time", "bands", *_SPACE)
# Whose items of before said (batch, time, ...) though they take channels.
_CHANNELS_ALWAYS = ("unet", "pixel")


def read_layout(reader: MlmReader, top: MlmProperties, inputs: Sequence[MlmInput]) -> TensorLayout:
    """How the network takes its inputs: as it is said, else by the order of dimensions."""
    if top.layout is not None:
        return top.layout
    values = [declared for declared in inputs if declared.of is None]
    orders = {tuple(declared.input.dim_order) for declared in values}
    if orders == {_SERIES} and top.architecture not in _CHANNELS_ALWAYS:
        return "series" if len(inputs) == 1 else "mapping"
    if len(orders) > 1:
        reader.refuse(
            "mlm:input",
            "of several orders of dimensions",
            "all are (batch, bands, …) or all (batch, time, bands, …)",
        )
    return "channels"


def check_inputs(reader: MlmReader, inputs: Sequence[MlmInput]) -> None:
    """Refuse what is to be done to an input and is not."""
    for number, declared in enumerate(inputs):
        if declared.of is None:
            _check_input(reader, f"mlm:input[{number}]", declared)


def window_of(inputs: Sequence[MlmInput]) -> int | None:
    """The width that all inputs of values declare; None where they leave it open."""
    widths = {tuple(declared.input.shape[-2:]) for declared in inputs if declared.of is None}
    if len(widths) != 1:
        return None
    height, width = next(iter(widths))
    return width if height == width > 0 else None


def _check_input(reader: MlmReader, place: str, declared: MlmInput) -> None:
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
            reader.refuse(f"{place}.{name}", expression_name(value), instead)
    for number, band in enumerate(declared.bands):
        if isinstance(band, MlmBand) and band.expression is not None:
            reader.refuse(
                f"{place}.bands[{number}].expression",
                band.expression,
                "bands are read by name; make the band with rsscale.apply",
            )
    if not declared.bands:
        reader.fail(f"{place}.bands: missing; name the bands in channel order")
    if declared.input.data_type != "float32":
        reader.refuse(
            f"{place}.input.data_type", declared.input.data_type, "a network is given float32"
        )
    if tuple(declared.input.dim_order) not in (*_IN, _SERIES):
        reader.refuse(
            f"{place}.input.dim_order",
            declared.input.dim_order,
            "a network gets (batch, bands, height, width), one time window after the other",
        )


def read_inputs(reader: MlmReader, inputs: Sequence[MlmInput], window: int) -> list[ModelInput]:
    """The inputs of values, each with what the network takes beside it."""
    takes: dict[str, list[str]] = {}
    for number, declared in enumerate(inputs):
        if declared.of is not None:
            extra = declared.name.removeprefix(f"{declared.of}.")
            if extra not in (DAYS, VALID):
                reader.refuse(
                    f"mlm:input[{number}].name",
                    declared.name,
                    "of an input are taken its 'days' and 'valid'",
                )
            takes.setdefault(declared.of, []).append(extra)
    return [
        _read_input(
            reader,
            f"mlm:input[{number}]",
            declared,
            window,
            tuple(takes.get(declared.name, ())),
        )
        for number, declared in enumerate(inputs)
        if declared.of is None
    ]


def _read_input(
    reader: MlmReader,
    place: str,
    declared: MlmInput,
    window: int,
    takes: tuple[str, ...],
) -> ModelInput:
    """An input whose declared shape is what the network is given."""
    is_series = tuple(declared.input.dim_order) == _SERIES
    if not declared.times and not declared.series and is_series:
        reader.fail(
            f"{place}.rsscale:times: missing; name the time windows of the bands, "
            'such as ["summer"], or give the observations of a series with rsscale:series'
        )
    times = tuple(declared.times or ()) or ((ANY_WINDOW,) if not declared.series else ())
    length = declared.series or len(times)
    listed = tuple(band if isinstance(band, str) else band.name for band in declared.bands)
    bands = _once(listed, length)
    channels = (length, len(bands)) if is_series else (length * len(bands),)
    reader.check_shape(f"{place}.input.shape", declared.input.shape, (*channels, window, window))
    if len(set(bands)) < len(bands):
        reader.refuse(f"{place}.bands", list(listed), "each band of a time window has its own name")
    mean, std, clip = _scaling(
        reader, f"{place}.value_scaling", declared.value_scaling, listed, bands
    )
    return ModelInput(
        declared.name, bands, times, mean, std, declared.series or 0, takes, clip=clip
    )


Scaling = tuple[float, float, tuple[float, float]]
"""What is subtracted, what it is divided by, and the range that values are clipped to before."""

_EVERYTHING = (-math.inf, math.inf)


def _scaling(
    reader: MlmReader,
    place: str,
    scaling: Sequence[MlmScaling] | None,
    listed: Sequence[str],
    bands: Sequence[str],
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[tuple[float, float], ...]]:
    """Of each band what is subtracted, divided by, and clipped to; the last empty for none."""
    if scaling is None:  # MLM: the values as they are
        return (0.0,) * len(bands), (1.0,) * len(bands), ()
    each = [_of_band(reader, f"{place}[{n}]", part) for n, part in enumerate(scaling)]
    if len(each) == 1:  # MLM: one object stands for all bands
        each *= len(bands)
    if len(each) not in (len(bands), len(listed)):
        reader.fail(f"{place}: holds {len(each)} objects; one for all bands, or {len(listed)}")
    by_time = [each[n : n + len(bands)] for n in range(0, len(each), len(bands))]
    if any(others != by_time[0] for others in by_time):
        reader.refuse(place, "another for the same band at another time", "a band is scaled alike")
    mean, std, clip = zip(*by_time[0], strict=True)
    return mean, std, () if set(clip) == {_EVERYTHING} else clip


def _of_band(reader: MlmReader, place: str, scaling: MlmScaling) -> Scaling:
    """What an object asks for; https://github.com/stac-extensions/mlm#value-scaling-object."""
    low, high = scaling.minimum, scaling.maximum
    wanted: dict[str, tuple[float | None, ...]] = {
        "z-score": (scaling.mean, scaling.stddev),
        "min-max": (low, _difference(high, low)),
        "offset": (scaling.value, 1.0),
        "scale": (0.0, scaling.value),
        "clip": (0.0, 1.0, low, high),
        "clip-min": (0.0, 1.0, low, math.inf),
        "clip-max": (0.0, 1.0, -math.inf, high),
    }
    if scaling.type not in wanted:
        reader.refuse(f"{place}.type", scaling.type, f"values are scaled by {', '.join(wanted)}")
    numbers = [number for number in wanted[scaling.type] if number is not None]
    if len(numbers) < len(wanted[scaling.type]):
        reader.fail(f"{place}: lacks numbers of its type {scaling.type!r}")
    if numbers[1] <= 0:
        reader.fail(f"{place}: divides by {numbers[1]:g}; expected a positive number")
    if len(numbers) == 2:
        return numbers[0], numbers[1], _EVERYTHING
    if numbers[2] > numbers[3]:
        reader.fail(f"{place}: clips from {numbers[2]:g} to {numbers[3]:g}, which is no range")
    return numbers[0], numbers[1], (numbers[2], numbers[3])


def _once(listed: tuple[str, ...], times: int) -> tuple[str, ...]:
    """The bands of one time window, where they are listed for each."""
    count = len(listed) // times
    return listed[:count] if count and listed == listed[:count] * times else listed


def _difference(high: float | None, low: float | None) -> float | None:
    return None if high is None or low is None else high - low
