"""What a model reads, how it is run and what it returns: as lines, and as a table in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rsscale.legend.legend import Legend
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ClassOutput, EmbeddingOutput, ObjectOutput
from rsscale.model.spec import ModelSpec
from rsscale.text.html_tables import block, heading, pairs

_MOST_BANDS = 8


def input_lines(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """What a model reads, and on which windows."""
    for model_input in spec.inputs:
        yield "input", _input_line(model_input)
    lattice = spec.lattice
    if spec.seen == "all":
        yield "maps", "pixels that all inputs have seen; others are nodata"
    yield (
        "windows",
        f"{lattice.stride} px and {lattice.halo} px of context on each side, {lattice.blend}",
    )
    if spec.resolution:
        yield "resolution", f"{spec.resolution:g} (metres on the ground, or degrees)"


def output_lines(spec: ModelSpec, *, classes: bool = True) -> Iterator[tuple[str, str]]:
    """What a model returns; without the classes of a map where these are told elsewhere."""
    if isinstance(spec.output, ObjectOutput):
        yield "finds", f"objects as {spec.output.kind}, with a score from 0 to 1"
        yield "classes", ", ".join(f"{c.value} {c.name}" for c in spec.classes)
        kept = (
            f"scores of {spec.output.score_threshold:g} or more; of two of a class that "
            f"overlap by {spec.output.iou:.0%} (intersection over union) the better one; at "
            f"most {spec.output.most} in a window"
        )
        yield "kept", kept
        return
    usual = [layer.name for layer in spec.layers()]
    more = [name for name in spec.layer_names if name not in usual]
    yield "layers", ", ".join(usual) + (f"; if asked for {', '.join(more)}" if more else "")
    if isinstance(spec.output, ClassOutput) and classes:
        yield "classes", ", ".join(f"{c.value} {c.name}" for c in spec.classes)
        if spec.output.temperature != 1:
            yield "calibrated", f"by the temperature {spec.output.temperature:g}"
        if spec.output.conformal:
            yield "sets", f"hold the true class with {spec.output.conformal.level:.0%}"
    elif isinstance(spec.output, EmbeddingOutput):
        yield "embedding", f"{spec.output.size} features, {spec.output.dtype}"


def model_html(spec: ModelSpec, beside: str, more: Iterable[tuple[str, str]]) -> str:
    """The card of a model in a notebook: its contract, what else is known, its legend.

    Parameters
    ----------
    spec : ModelSpec
    beside : str
        Stands after its name.
    more : iterable of (str, str)
        Further lines.
    """
    rows = [("network", spec.architecture), *input_lines(spec), *output_lines(spec), *more]
    legend: Any = Legend(spec.classes)._repr_html_() if spec.classes else ""
    shown = pairs((name, text) for name, text in rows if name != "classes")
    return block(heading(spec.name, beside), shown, legend)


def _input_line(model_input: ModelInput) -> str:
    bands = ", ".join(model_input.bands[:_MOST_BANDS])
    more = len(model_input.bands) - _MOST_BANDS
    times = (
        f"series of up to {model_input.series} observations"
        if model_input.series
        else ", ".join(model_input.times)
    )
    beside = f"; with {' and '.join(model_input.takes)}" if model_input.takes else ""
    return f"{model_input.name}: {bands}{f' and {more} more' if more > 0 else ''}; {times}{beside}"
