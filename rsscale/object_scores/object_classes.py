"""Classes of predicted and true objects: the same one by name or by value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest
from rsscale.legend.classes import LandClass
from rsscale.reference.class_column import plain_text
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

_Indices = npt.NDArray[np.intp]

UNKNOWN = -1
ALL = "all objects"
_MOST_NAMED = 5


@dataclass(frozen=True)
class ObjectClasses:
    """Which class each object is of.

    Attributes
    ----------
    names : tuple of str
        K classes.
    predicted, truth : intp arrays
        Positions in ``names``; -1 for true objects of a class that no prediction can have.
    notes : tuple of str
        What is said of classes that only one side has.
    """

    names: tuple[str, ...]
    predicted: _Indices
    truth: _Indices
    notes: tuple[str, ...] = ()


def object_classes(
    predicted: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    column: str | None,
    legend: Sequence[LandClass | str] | None,
) -> ObjectClasses:
    """Bring the classes of both sides to one list.

    Predictions have ``name`` or ``class``, as the rows of a run do, or the truth's column.

    Parameters
    ----------
    predicted, truth : GeoDataFrame
    column : str, optional
        Of the truth: names or values of classes. Without it all objects are of one class.
    legend : sequence of LandClass or str, optional
        All classes that predictions may have. Without it: those that they have, and the truth's.

    Raises
    ------
    RecipeError
        When there is no such column, a class is empty, or no class of the truth is known.
    """
    if column is None:
        return _one_class(predicted, truth)
    if column not in truth.columns:
        there = [str(name) for name in truth.columns if name != truth.geometry.name]
        raise RecipeError(
            f"the true objects have no column {column!r}; they have {there}{nearest(column, there)}"
        )
    there = _texts(truth[column], "true", column)
    names, known = _known(predicted, legend)
    mapped = _predicted_names(predicted, column, names, known)
    if legend is None:
        names, known = _extended(names, known, mapped, there)
    p = np.array([known[text] for text in mapped], np.intp)
    t = np.array([known.get(text, UNKNOWN) for text in there], np.intp)
    unknown = Counter(text for text in there if text not in known)
    only_true = set(t.tolist()) - set(p.tolist()) - {UNKNOWN}
    is_strange = not set(p.tolist()) & set(t.tolist()) if legend is None else (t == UNKNOWN).all()
    if len(t) and (len(p) or legend is not None) and is_strange:
        others = list(names) if legend is not None else [names[k] for k in sorted(set(p.tolist()))]
        raise RecipeError(
            "no class of the truth is one of the predictions: the truth has "
            f"{_counts(Counter(there))}, predictions have {others}{nearest(there[0], others)}; "
            "rename them in one of the files"
        )
    notes = []
    if unknown:
        notes.append(
            f"{counted(unknown.total(), 'true object')} of no class of the predictions left out: "
            f"{_counts(unknown)}; the classes are {list(names)}"
        )
    if only_true and len(p):
        some = Counter(names[k] for k in t.tolist() if k in only_true)
        notes.append(f"no object is predicted of the classes {_counts(some)}: these are missed")
    only_predicted = set(p.tolist()) - set(t.tolist())
    if only_predicted and len(t):
        some = Counter(names[k] for k in p.tolist() if k in only_predicted)
        notes.append(f"the truth has no object of the predicted classes {_counts(some)}")
    return ObjectClasses(names, p, t, tuple(notes))


def _one_class(predicted: gpd.GeoDataFrame, truth: gpd.GeoDataFrame) -> ObjectClasses:
    names = predicted["name"].dropna().unique() if "name" in predicted.columns else []
    note = (
        f"predictions have {len(names)} classes, and no column of the truth is named for them: "
        "objects are matched whatever their class"
    )
    name = str(names[0]) if len(names) == 1 else ALL
    p, t = (np.zeros(len(frame), np.intp) for frame in (predicted, truth))
    return ObjectClasses((name,), p, t, (note,) if len(names) > 1 else ())


def _known(
    predicted: gpd.GeoDataFrame, legend: Sequence[LandClass | str] | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of classes, and the position that each name or value stands for."""
    if legend is not None:
        pairs = [
            (land_class.name, str(land_class.value))
            if isinstance(land_class, LandClass)
            else (str(land_class), "")
            for land_class in legend
        ]
    elif {"name", "class"} <= set(predicted.columns):
        both = predicted[["class", "name"]].dropna().drop_duplicates().sort_values("class")
        pairs = [(str(name), str(value)) for value, name in both.itertuples(index=False)]
    else:
        pairs = []
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    known = {plain_text(name) or name: names.index(name) for name in names}
    for name, value in pairs:
        if value:
            known.setdefault(value, names.index(name))
    return names, known


def _predicted_names(
    predicted: gpd.GeoDataFrame, column: str, names: Sequence[str], known: dict[str, int]
) -> list[str]:
    if not len(predicted):
        return []
    there = [name for name in ("name", "class", column) if name in predicted.columns]
    if not there:
        raise RecipeError(
            f"the predicted objects have no column 'name', 'class' or {column!r}; they have "
            f"{[str(name) for name in predicted.columns]}"
        )
    texts = _texts(predicted[there[0]], "predicted", there[0])
    strange = Counter(text for text in texts if text not in known) if names else Counter()
    if strange:
        raise RecipeError(
            f"predicted objects are of {_counts(strange)}, which are none of the classes "
            f"{list(names)}"
        )
    return texts


def _extended(
    names: tuple[str, ...], known: dict[str, int], mapped: list[str], there: list[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """With the classes that only the tables have, in their order by name."""
    new = sorted({*mapped, *there} - set(known))
    return (*names, *new), known | {name: len(names) + k for k, name in enumerate(new)}


def _texts(column: Any, subject: str, name: str) -> list[str]:
    texts = [plain_text(value) for value in column]
    empty = [row for row, text in enumerate(texts) if text is None]
    if empty:
        raise RecipeError(
            f"{counted(len(empty), f'{subject} object')} without a class in the column {name!r}, "
            f"such as row {empty[0]}; fill it in, or remove them"
        )
    return [text for text in texts if text is not None]


def _counts(counts: Counter[str]) -> str:
    most = counts.most_common(_MOST_NAMED)
    more = f" and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    return ", ".join(f"{text!r} ({count:,})" for text, count in most) + more
