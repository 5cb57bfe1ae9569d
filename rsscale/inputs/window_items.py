"""Which time windows of an input have items, and whether its model learnt from such windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rsscale.errors import ModelError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inputs.windows import windows
from rsscale.items.item_store import Lookup
from rsscale.model.files import SELDOM, read_training
from rsscale.recipe import InputRecipe, Recipe

_LISTED = 6
_OF_ONE_PERIOD = ("predict", "detect")  # kinds of steps whose model sees the windows of a period

Counts = dict[int, dict[str, int]]
"""Items by period and by name of the time window."""


def window_notes(
    recipe: Recipe,
    grid: Grid,
    indexes: Mapping[str, Lookup],
    boxes: Sequence[PixelBox],
    periods: Iterable[int],
) -> tuple[str, ...]:
    """Time windows without any item in what is read, and items of windows that training never saw.

    By the dates of items alone; no pixel is read. What training saw is what the model's folder
    says; before it is trained, windows that have items in the periods of training, if these are
    mapped too.

    Parameters
    ----------
    recipe : Recipe
    grid : Grid
    indexes : mapping of input name to Lookup
    boxes : sequence of PixelBox
        All that is read.
    periods : iterable of int

    Returns
    -------
    tuple of str
        A line for each input and each set of windows.
    """
    notes: list[str] = []
    wanted = sorted(set(periods))
    for name, index in indexes.items():
        imagery = recipe.inputs[name]
        if imagery.static or imagery.series:
            continue
        counts = _counts(imagery, grid, index, boxes, wanted)
        if len(next(iter(counts.values()), {})) > 1:
            notes += [f"input {name!r}: {line}" for line in _without_items(counts)]
            notes += [f"input {name!r}: {line}" for line in _never_learnt(recipe, name, counts)]
    return tuple(notes)


def _counts(
    imagery: InputRecipe,
    grid: Grid,
    index: Lookup,
    boxes: Sequence[PixelBox],
    periods: Iterable[int],
) -> Counts:
    geoboxes = [grid.geobox_of(box) for box in boxes]
    return {
        period: {
            window.name: len(index.extents.rows_of_any(geoboxes, window.start, window.end))
            for window in windows(imagery, period)
        }
        for period in periods
    }


def _without_items(counts: Counts) -> list[str]:
    """A line for each set of windows that some periods have no item of."""
    periods_of: dict[tuple[str, ...], list[int]] = {}
    for period, by_window in counts.items():
        empty = tuple(name for name, count in by_window.items() if not count)
        if empty and len(empty) < len(by_window):  # a period without any is refused elsewhere
            periods_of.setdefault(empty, []).append(period)
    return [
        f"no item in {_listed(empty)} of {', '.join(map(str, periods))}"
        for empty, periods in periods_of.items()
    ]


def _never_learnt(recipe: Recipe, name: str, counts: Counts) -> list[str]:
    """A line for each period with items in windows of which its model saw nothing."""
    lines = []
    for period, by_window in counts.items():
        there = [window for window, count in by_window.items() if count]
        unseen = _unseen(recipe, name, counts, period)
        unknown = [window for window in there if window in unseen]
        if not unknown:
            continue
        which, saw = _listed(unknown), "training saw next to nothing of that"
        if unknown == there:
            lines.append(
                f"all items of {period} are in {which}, and {saw}: the map of "
                "this period means nothing; use wider windows, such as composite: {by: year}, or "
                "train on a period that has such items"
            )
        else:
            lines.append(f"{period} has items in {which}, and {saw}")
    return lines


def _unseen(recipe: Recipe, name: str, counts: Counts, period: int) -> set[str]:
    """Windows of which the model of a period saw next to nothing, where that is known."""
    observed = _observed(recipe, name, period)
    if observed is not None:
        known = {w: share for w, share in observed.items() if isinstance(share, int | float)}
        return {window for window, share in known.items() if share < SELDOM}
    settings = recipe.train
    # A fallback of the composite fills windows without items, also for training.
    if settings is None or recipe.inputs[name].composite.missing != "leave":
        return set()
    trained = settings.periods or recipe.periods
    if settings.change or not set(trained) <= set(counts):
        return set()
    names = counts[period]
    return {window for window in names if not any(counts[year][window] for year in trained)}


def _observed(recipe: Recipe, name: str, period: int) -> Mapping[str, float] | None:
    """Shares by window that a model's folder has of its training; None where it has none."""
    for model in _models(recipe, period):
        try:
            training = read_training(recipe.path(model))
        except ModelError:  # its steps say what is wrong with it
            continue
        observed = (training or {}).get("observed")
        shares = observed.get(name) if isinstance(observed, Mapping) else None
        if isinstance(shares, Mapping):
            return shares
    return None


def _models(recipe: Recipe, period: int) -> Iterator[str]:
    """Folders of the models that map a period, or find objects in it."""
    for step in recipe.all_steps.values():
        if step.kind not in _OF_ONE_PERIOD:
            continue
        model = step.options.get("model")
        if isinstance(model, Mapping):
            model = model.get(period, model.get(str(period)))
        if isinstance(model, str):
            yield model


def _listed(names: Sequence[str]) -> str:
    if len(names) > _LISTED:
        return f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} more windows"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
