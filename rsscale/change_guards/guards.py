"""Guards of two dates: their shift is told, or taken back; their digital numbers are related.

Any pass that reads two dates is guarded by its sources alone: :func:`guard` gives those that it is
to read, and the steps that come before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rsscale.change_guards.dates import Dates
from rsscale.change_guards.radiometry_sample import (
    RadiometryOfDates,
    RadiometrySample,
    radiometry_schema,
    sample_schema,
)
from rsscale.change_guards.registered import NormalisedSource, RegisteredSource
from rsscale.change_guards.shift_blocks import (
    ShiftBlocks,
    ShiftOfDates,
    block_schema,
    shift_schema,
)
from rsscale.coregistration.common_shift import BEYOND
from rsscale.errors import RecipeError
from rsscale.layers import AFTER
from rsscale.steps.base import Setup, Source, Step
from rsscale.steps.options import Options
from rsscale.steps.placed_rows import UngatheredRows

MOST = 8
"""Pixels: the greatest shift that is gone on with, unless the recipe says more."""


class GuardOptions(Options):
    """``register``, ``max_shift``, ``shift`` and ``normalise`` of a step that compares two dates.

    ``register: warn`` tells a shift above half a pixel, ``correct`` takes it back, ``off`` does not
    look for one. Above ``max_shift`` px, or where most of the area shows different places, the
    step is refused. ``shift: [dx, dy]`` is known, px to the east and down, and taken back.
    ``normalise: true`` brings the second date's digital numbers to those of the first; a mapping of
    each band to ``[gain, offset]`` is taken as it is.
    """

    register_: Literal["warn", "correct", "off"] = Field(default="warn", alias="register")
    """A shift above half a pixel between the two dates: tell it (`warn`), take it back (`correct`),
    or do not look for it (`off`)."""
    max_shift: int = Field(default=MOST, ge=1, le=96)
    """Pixels; above it, or where most of the area shows different places, the step is refused."""
    shift: tuple[float, float] | None = None
    """A known shift of the second date, pixels to the east and down, that is taken back."""
    normalise: bool | dict[str, tuple[float, float]] = False
    """Bring the second date's numbers to those of the first: `true` estimates it, a mapping of each
    band to `[gain, offset]` is taken as it is."""

    @field_validator("register_", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """YAML reads ``off`` as false."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _one_shift(self) -> GuardOptions:
        if self.shift is None:
            return self
        if "register_" in self.model_fields_set and self.register_ != "correct":
            raise ValueError(
                f"shift is given, and register is {self.register_}; a shift that is known is taken "
                "back: leave register out"
            )
        if max(map(abs, self.shift)) > self.max_shift:
            raise ValueError(
                f"shift is {list(self.shift)} px, more than max_shift, which is {self.max_shift}"
            )
        return self


@dataclass(frozen=True)
class Guarded:
    """What a pass of two dates reads, and the steps that come before it.

    Attributes
    ----------
    sources : mapping of str to Source
        ``before``, and ``after`` as it is to be compared with it.
    steps : tuple of Step
        To be opened before the pass: ``STEP-shift-blocks``, ``STEP-shift``,
        ``STEP-radiometry-sample``, ``STEP-radiometry``, as far as the options ask for them.
    """

    sources: Mapping[str, Source]
    steps: tuple[Step, ...] = ()


def guard(
    step: str,
    sources: Mapping[str, Source],
    options: GuardOptions,
    setup: Setup,
    *,
    span: str,
    bands: tuple[str, ...],
    times: int | None,
    series: bool = False,
) -> Guarded:
    """Guard the two dates of a pass.

    Parameters
    ----------
    step : str
        Name of the pass.
    sources : mapping of str to Source
        ``before`` and ``after``: of one input, or of layers of one step.
    options : GuardOptions
    setup : Setup
    span : str
        ``"2000-2003"``.
    bands : tuple of str
        Of the input, or layers of the step that hold quantities.
    times : int, optional
        Windows of time of the input; None of a step.
    series : bool
        Whether the input is one of observations as they are, whose times differ from year to year:
        then only a shift that is given is taken back.

    Raises
    ------
    RecipeError
        For what the recipe asks and can not be: in a preview, which has no whole area, what only
        the whole area tells.
    """
    guarded = Guarded(dict(sources))
    if series and options.shift is None:
        if options.register_ == "correct" or options.normalise:
            raise RecipeError(
                "register: correct and normalise are of composites, and the input is a series; "
                "give a known shift as shift: [dx, dy], or leave them out"
            )
        return guarded
    guarded = _registered(step, guarded, options, setup, span=span, bands=bands)
    if not options.normalise:
        return guarded
    if times is None:
        raise RecipeError(
            "normalise is for digital numbers of an input, and 'of' names a step; leave it out"
        )
    return _normalised(step, guarded, options, setup, span=span, bands=bands, times=times)


def _registered(
    step: str,
    guarded: Guarded,
    options: GuardOptions,
    setup: Setup,
    *,
    span: str,
    bands: tuple[str, ...],
) -> Guarded:
    after = guarded.sources[AFTER]
    if options.shift is not None:
        moved = RegisteredSource(after, options.shift, options.max_shift)
        return replace(guarded, sources={**guarded.sources, AFTER: moved})
    if options.register_ == "off" or not bands:
        return guarded
    corrects = options.register_ == "correct"
    most = options.max_shift + BEYOND
    blocks = ShiftBlocks(
        step=f"{step}-shift-blocks",
        sources=guarded.sources,
        schema=block_schema(),
        dates=Dates(bands),
        span=span,
        most=most,
        corrected=corrects,
    )
    shift = ShiftOfDates(
        step=f"{step}-shift",
        of=blocks.step,
        schema=shift_schema(),
        accepted=options.max_shift,
        most=most,
        corrected=corrects,
    )
    table = setup.gathered(shift)
    if isinstance(table, UngatheredRows) and not corrects:
        return guarded  # a preview, in which nothing is told of the whole area
    source = RegisteredSource(after, table, options.max_shift, moves=corrects)
    return Guarded({**guarded.sources, AFTER: source}, (blocks, shift))


def _normalised(
    step: str,
    guarded: Guarded,
    options: GuardOptions,
    setup: Setup,
    *,
    span: str,
    bands: tuple[str, ...],
    times: int,
) -> Guarded:
    after = guarded.sources[AFTER]
    if isinstance(options.normalise, dict):
        if sorted(options.normalise) != sorted(bands):
            raise RecipeError(
                f"normalise is of {', '.join(options.normalise)}; expected is [gain, offset] of "
                f"each band that is compared: {', '.join(bands)}"
            )
        for band, (gain, offset) in options.normalise.items():
            if gain <= 0:
                raise RecipeError(
                    f"normalise.{band} is [{gain:g}, {offset:g}]; expected a gain above 0"
                )
        given: Any = dict(options.normalise)
        source = NormalisedSource(after, given, bands)
        return replace(guarded, sources={**guarded.sources, AFTER: source})
    sample = RadiometrySample(
        step=f"{step}-radiometry-sample",
        sources=guarded.sources,
        schema=sample_schema(times * len(bands)),
        dates=Dates(bands),
        span=span,
    )
    radiometry = RadiometryOfDates(
        step=f"{step}-radiometry",
        of=sample.step,
        schema=radiometry_schema(),
        bands=bands,
        times=times,
    )
    table = setup.gathered(radiometry)
    source = NormalisedSource(after, table, bands)
    steps = (*guarded.steps, sample, radiometry)
    return Guarded({**guarded.sources, AFTER: source}, steps)
