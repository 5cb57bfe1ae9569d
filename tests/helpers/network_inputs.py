"""Inputs to build networks for."""

from rsscale.learners.chips import InputBands


def channels(count: int) -> tuple[InputBands]:
    """One input of so many bands, at one time."""
    return (InputBands("s2", tuple(f"band {k}" for k in range(count)), ("year",)),)
