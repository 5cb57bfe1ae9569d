"""Draw a sample further: what was drawn stays, and its design decides all but how much is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsscale.errors import RecipeError
from rsscale.sample_design.draw_run import FILES
from rsscale.sample_design.sample_file import SampleFile
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.sample_size import Expectation, allocate, share_out
from rsscale.sample_passes.strata import Strata
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import is_same_version, step_version

_GROWS = {"size", "sizes", "blocks", "starts"}


def options_before(
    before: SampleFile, given: Mapping[str, Any], folder: RunFolder, step: str
) -> dict[str, Any]:
    """The options of a sample that is added to, with what is added."""
    record = before.record
    if record["step"] != step or not is_same_version(folder, step, record):
        raise RecipeError(
            f"{before.path} was drawn from version {record['version']} of the step "
            f"{record['step']!r}, and the run has version {step_version(folder, step)} of "
            f"{step!r}; what is added "
            "would be of another map: draw a new sample"
        )
    # Where no period was named it was the last one, and the run may have grown since.
    of_periods: dict[str, Any] = {"periods": list(record["periods"])}
    known = of_periods | dict(record["options"]) | _files_before(before, given)
    other = [
        name
        for name in given
        if name not in _GROWS and name not in FILES and known.get(name) != given[name]
    ]
    if other:
        raise RecipeError(
            f"{other[0]!r} is decided by the sample that is added to; give only how much to add: "
            f"{', '.join(sorted(_GROWS))}"
        )
    added = {name: given[name] for name in _GROWS & given.keys() if given[name] is not None}
    wanted = {
        "simple": ("size",), "stratified": ("size", "sizes"),
        "systematic": ("starts",), "two-stage": ("blocks",),
    }[known.get("design", "stratified")]  # fmt: skip
    if len(added) != 1 or not set(added) <= set(wanted):
        raise RecipeError(
            f"adding to a {known.get('design', 'stratified')} sample needs {' or '.join(wanted)}, "
            f"which say how much to add; found {', '.join(sorted(added)) or 'none'}"
        )
    ((name, value),) = added.items()
    if name == "starts":
        return known | {name: int(known.get(name) or 1) + value}
    if name == "blocks":  # of a sample that was asked for by its size the record knows how many
        return known | {name: int(record["clusters"]["drawn"]) + value}
    return known | {"size": None, "sizes": None, name: value}


def _files_before(before: SampleFile, given: Mapping[str, Any]) -> dict[str, str]:
    """Files of regions or a raster that a sample was drawn with: given again, or as kept."""
    files = {}
    for name in FILES:
        known = before.record["options"].get(name)
        if known is None:
            continue
        if given.get(name) is not None:
            files[name] = str(given[name])
            continue
        kept = sorted(before.path.with_suffix(".draw").glob(f"files/*/{known}"))
        if not kept:
            raise RecipeError(
                f"{before.path} was drawn by {name} of {known}, which is not kept beside it any "
                f"more; give the file again: {name}"
            )
        files[name] = str(kept[-1])
    return files


def enlarged(
    options: SampleOptions, before: SampleFile, strata: Strata, expected: Expectation
) -> SampleOptions:
    """Sizes of the sample and what is added to it, together."""
    drawn = np.array(
        [
            next(
                (
                    stratum["drawn"]
                    for stratum in before.record["strata"]
                    if stratum["name"] == s.name
                ),
                0,
            )
            for s in strata.all
        ],
        np.int64,
    )
    if options.design == "simple":
        total = min(int(drawn.sum()) + (options.size or 0), int(strata.pixels.sum()))
        return options.model_copy(update={"size": total})
    if options.sizes is not None:
        more = strata.by_name(options.sizes, "sizes")
        added = np.array([more.get(number, 0) for number in range(len(drawn))])
    else:
        added = _added(options, drawn, expected)
    together = np.minimum(drawn + added, strata.pixels)
    sizes = {stratum.name: int(n) for stratum, n in zip(strata.all, together, strict=True)}
    return options.model_copy(update={"size": None, "sizes": sizes})


def _added(options: SampleOptions, drawn: Any, expected: Expectation) -> Any:
    """More units, to come as near as they can to the allocation of all together."""
    more = options.size or 0
    plain = options.model_copy(update={"sizes": None})
    wanted = allocate(expected, int(drawn.sum()) + more, options.allocation, plain)
    missing = np.maximum(wanted - drawn, 0).astype(np.float64)
    return share_out(more, missing, np.zeros_like(drawn), expected.pixels - drawn)
