"""Imagery to look at, as a pass: red, green and blue of one composite of an input, in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.composites.strips import in_memory
from rsscale.errors import RecipeError, nearest
from rsscale.inputs.windows import window_names
from rsscale.items.bands import natural_colours
from rsscale.layers import NODATA, Axis, Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.recipe import InputRecipe, StepRecipe
from rsscale.steps.base import Block, Cost, Pass, Result, Setup, Source
from rsscale.steps.options import Options

KIND = "imagery"
"""What recipes call it, and the attribute ``rsscale_kind`` of its layer."""
# What threads hold of the scenes that they composite, each.
_READING = 450 * 2**20


Edge = float | tuple[float, float, float]
"""A value of all three bands, or of each."""


class ImageryOptions(Options):
    """``{kind: imagery, of: INPUT, bands: [red, green, blue], window:, low:, high:}``.

    ``low`` and ``high`` are what becomes black and white, in the values of the composite: one
    number for all three bands, so that grey stays grey, or one of each, for digital numbers.
    """

    bands: tuple[str, str, str] = ("red", "green", "blue")
    """Three bands: red, green and blue of the picture."""
    window: str | None = None
    """The time window; that in the middle of the year when left out."""
    low: Edge = 0.0
    """What becomes black, in the values of the composite; or `[LOW, LOW, LOW]` of the three
    bands."""
    high: Edge = 0.3
    """What becomes white; one number for all bands keeps grey grey, `[HIGH, HIGH, HIGH]` suits
    digital numbers."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not all(low < high for low, high in self.edges):
            raise ValueError(f"has low {self.low} and high {self.high}; high must be above")
        return self

    @property
    def edges(self) -> tuple[tuple[float, float], ...]:
        """What becomes black and white of each band."""
        lows, highs = (
            edge if isinstance(edge, tuple) else (edge,) * 3 for edge in (self.low, self.high)
        )
        return tuple(zip(lows, highs, strict=True))


@dataclass(repr=False, kw_only=True)
class ImageryPass(Pass):
    """The layer ``rgb (time, band, y, x)``: 0 to 254, 255 where a band was not seen.

    The stretch is fixed by the options, not by what a tile holds, so that tiles join without seams.

    Attributes
    ----------
    input : str
    options : ImageryOptions
    times : tuple of str
        Periods.
    time : int
        Number of the composite's time window.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = ImageryOptions

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    input: str
    options: ImageryOptions
    times: tuple[str, ...]
    time: int

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Pass]:
        """Open the source of an input; the window in the middle of the year when none is named."""
        reference = recipe.only_reference("input whose composite is drawn")
        inputs = setup.recipe.inputs
        if not isinstance(reference, str) or reference not in inputs:
            raise RecipeError(f"needs 'of': an input; there are {list(inputs)}")
        known = inputs[reference].bands
        missing = [band for band in options.bands if band not in known]
        if missing:
            raise RecipeError(
                f"needs the bands {list(options.bands)}; {reference!r} has {list(known)}"
                f"{nearest(missing[0], known)}"
            )
        windows = window_names(inputs[reference], setup.recipe.periods[0])
        if options.window is not None and options.window not in windows:
            raise RecipeError(
                f"has the window {options.window!r}; {reference!r} has {list(windows)}"
                f"{nearest(options.window, windows)}"
            )
        return [
            cls(
                step=step,
                layers=(_layer(options.bands),),
                sources={"image": setup.source(reference)},
                input=reference,
                options=options,
                times=setup.spans(reference),
                time=(
                    middle_window(inputs[reference], setup.recipe.periods[0])
                    if options.window is None
                    else list(windows).index(options.window)
                ),
            )
        ]

    def spans(self) -> Sequence[str]:
        """The recipe's periods."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """All options, and the window that was chosen."""
        return self.options.model_dump() | {"time": self.time}

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: reading, bands, what is written."""
        reading = min(cost.bytes * self.overhead(tile), profile.threads * _READING)
        return PROCESS_BYTES + int(reading + TILES_AT_ONCE * tile**2 * (2 * 3 * 4 + 3 * 3))

    def run(self, block: Block) -> Result:
        """Composite one tile and stretch it."""
        image = block.inputs["image"]["composite"].isel(time=self.time)
        picked = image.sel(band=list(self.options.bands))
        profile, meter = block.resources.profile, block.resources.meter
        (composite,) = in_memory([picked], profile.threads or None, meter)
        rgb = stretched(composite.values[(slice(None), *block.inside)], self.options)
        return Result(layers=block.dataset(self.layers, {"rgb": rgb}))


def _layer(bands: tuple[str, str, str]) -> Layer:
    """The layer that is written; its name says of which bands, where colours are not natural."""
    title = "imagery in red, green and blue"
    if natural_colours(bands) != bands:
        title = f"{bands[0]}, {bands[1]} and {bands[2]} as red, green and blue"
    attributes = {"long_name": title, "rsscale_kind": KIND}
    return Layer("rgb", axis=Axis("rgb_band", (1, 2, 3)), overview="mean", attributes=attributes)


def middle_window(source: InputRecipe, period: int) -> int:
    """Number of the time window in the middle of the year."""
    return len(window_names(source, period)) // 2


def stretched(values: npt.NDArray[np.float32], options: ImageryOptions) -> npt.NDArray[np.uint8]:
    """Values of three bands from 0 to 254, brightened by the power 0.75; 255 where one is NaN."""
    low = np.array([low for low, _ in options.edges], np.float32)[:, None, None]
    width = np.array([high - low for low, high in options.edges], np.float32)[:, None, None]
    share = (values - low) / width
    root = np.sqrt(np.clip(np.nan_to_num(share), 0, 1))
    bright = root * np.sqrt(root) * (NODATA - 1)  # roots are rounded alike by every processor
    seen = np.isfinite(values).all(axis=0)
    rgb: npt.NDArray[np.uint8] = np.where(seen, np.rint(bright), NODATA).astype(np.uint8)
    return rgb
