"""A table of interpreted units, checked: what each stands for, and its classes by period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.legend.class_codes import NOT_INTERPRETED, class_positions
from rsscale.legend.classes import LandClass
from rsscale.survey_estimators.units import DesignKind, Floats, Ints, SampleDesign, Stratum, Units
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pandas as pd

PROBABILITY = "inclusion_probability"
# Units of a stratum of a two-stage sample, below which its size is not used.
_LEAST = 10
LEAST_STARTS = 10
"""Random starts of a systematic sample from which its variance is that between them."""


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Units as they were drawn, interpreted or not.

    Attributes
    ----------
    ids : array (n,)
    design : SampleDesign
    stratum : int64 array (n,)
        Position in the strata.
    probability : float64 array (n,), optional
    cluster : int64 array (n,), optional
    place : float64 array (n, 2), optional
    size : float64 array (n,), optional
        Hectares of each unit's pixel.
    references : mapping of period to int64 array (n,)
        Position of the class; -1 where it is not interpreted.
    seconds : mapping of period to int64 array (n,)
        The same by a second interpreter.
    """

    ids: npt.NDArray[Any]
    design: SampleDesign
    stratum: Ints
    probability: Floats | None
    cluster: Ints | None
    place: Floats | None
    size: Floats | None
    references: Mapping[str, Ints]
    seconds: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.ids)

    def units(self, used: npt.NDArray[np.bool_]) -> Units:
        """Some of the units, which stand for all.

        Those that are left out are taken as missing at random within their stratum.

        Raises
        ------
        RecipeError
            When a stratum is left without a unit.
        """
        design, stratum = self.design, self.stratum
        counts = np.bincount(stratum[used], minlength=len(design.strata))
        if design.kind == "two-stage" and counts.min() < _LEAST and len(counts) > 1:
            # What a first stage finds of a small stratum is chance; it needs no unit.
            design, stratum = one_stratum(design), np.zeros_like(stratum)

        def some(values: npt.NDArray[Any] | None) -> Any:
            return None if values is None else values[used]

        return Units.of(
            design,
            stratum[used],
            some(self.probability),
            some(self.size),
            cluster=some(self.cluster),
            place=some(self.place),
        )


def one_stratum(design: SampleDesign) -> SampleDesign:
    """The same population without strata."""
    whole = Stratum(0, "all", float(design.pixels.sum()), design.hectares)
    return SampleDesign(design.kind, (whole,), design.clusters)


def read_sample_table(
    frame: pd.DataFrame,
    design: SampleDesign | None,
    classes: Sequence[LandClass],
    *,
    references: Mapping[str, str],
    seconds: Mapping[str, str] | None = None,
    hectares: float | None = None,
    place: Floats | None = None,
    size: Floats | None = None,
) -> SampleTable:
    """Check a table of units.

    Parameters
    ----------
    frame : DataFrame
        A row a unit, with the columns ``id``, ``stratum``, ``cluster`` and
        ``inclusion_probability`` where there are such, and the references.
    design : SampleDesign, optional
        When omitted it is made of the columns: sizes of strata are then the sums of the inverse
        probabilities.
    classes : sequence of LandClass
    references, seconds : mapping of period to column
    hectares : float, optional
        Of the whole population, where there is no design.
    place, size
        See :class:`SampleTable`.

    Raises
    ------
    RecipeError
        For units that are there twice, inclusion probabilities that are missing or not within 0
        and 1, strata that the design does not have, a sample of no known design, references that
        are no class.
    """
    ids = _ids(frame)
    probability = _probabilities(frame, ids)
    if design is None and probability is None:
        raise RecipeError(_no_design(frame))
    if design is None:
        design = _design_of(frame, probability, hectares)
    cluster = _clusters(frame, design, ids)
    if design.kind == "two-stage" and probability is None:
        raise RecipeError(
            f"a two-stage sample has no column {PROBABILITY!r}, without which its units have no "
            "weights; use the sample's file as it was drawn"
        )
    columns = {**references, **{f"second {p}": c for p, c in (seconds or {}).items()}}
    read = {
        period: class_positions(
            _column(frame, column).tolist(), classes, column=column, ids=ids.tolist()
        )
        for period, column in columns.items()
    }
    return SampleTable(
        ids=ids,
        design=design,
        stratum=_strata(frame, design, ids),
        probability=probability,
        cluster=cluster,
        place=place,
        size=size,
        references={p: read[p] for p in references},
        seconds={p: read[f"second {p}"] for p in seconds or {}},
    )


def _column(frame: pd.DataFrame, name: str) -> Any:
    if name not in frame.columns:
        raise RecipeError(
            f"the sample has no column {name!r}; it has {list(map(str, frame.columns))}"
        )
    return frame[name]


def _ids(frame: pd.DataFrame) -> npt.NDArray[Any]:
    if not len(frame):
        raise RecipeError("the sample has no units")
    ids = frame["id"] if "id" in frame.columns else frame.index.to_series()
    twice = ids[ids.duplicated()].unique().tolist()
    if twice:
        raise RecipeError(
            f"{counted(len(twice), 'id is', 'ids are')} there more than once, such as "
            f"{twice[0]}: each unit counts once; remove the copies"
        )
    unit_ids: npt.NDArray[Any] = ids.to_numpy()
    return unit_ids


def _probabilities(frame: pd.DataFrame, ids: npt.NDArray[Any]) -> Floats | None:
    if PROBABILITY not in frame.columns:
        return None
    import pandas as pd

    values = pd.to_numeric(frame[PROBABILITY], errors="coerce").to_numpy(float)
    wrong = ~((values > 0) & (values <= 1))
    if wrong.all() and frame[PROBABILITY].isna().all():
        return None
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise RecipeError(
            f"{counted(int(wrong.sum()), 'unit has', 'units have')} no {PROBABILITY} above 0 "
            "and at most 1, such as unit "
            f"{ids[first]} with {frame[PROBABILITY].iloc[first]}; use the values of the draw: "
            "without them a unit stands for nobody knows how much"
        )
    return values


def _design_of(
    frame: pd.DataFrame, probability: Floats | None, hectares: float | None
) -> SampleDesign:
    """The design that the columns tell."""
    known = np.ones(len(frame)) if probability is None else probability
    strata = _codes(frame, "stratum")
    values = np.zeros(len(frame), np.int64) if strata is None else strata
    kind: DesignKind = "two-stage" if _codes(frame, "cluster") is not None else (
        "stratified" if len(np.unique(values)) > 1 else "simple"
    )  # fmt: skip
    there, position = np.unique(values, return_inverse=True)
    sums = np.bincount(position, 1 / known)
    unit = 1.0 if hectares is None else hectares / sums.sum()
    names = dict(zip(values.tolist(), frame.get("stratum_name", values), strict=True))
    return SampleDesign(
        kind,
        tuple(
            Stratum(int(v), str(names[int(v)]), float(n), float(n) * unit)
            for v, n in zip(there.tolist(), sums.tolist(), strict=True)
        ),
    )


def _codes(frame: pd.DataFrame, column: str) -> Ints | None:
    """A column of whole numbers; None where it is not there or empty."""
    import pandas as pd

    if column not in frame.columns or frame[column].isna().all():
        return None
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(float)
    wrong = ~(np.isfinite(values) & (values == np.rint(values)))
    if wrong.any():
        raise RecipeError(
            f"column {column!r} of the sample holds {frame[column][wrong].iloc[0]} and "
            f"{int(wrong.sum()) - 1} more that are no whole numbers; use the file as it was drawn"
        )
    return values.astype(np.int64)


def _strata(frame: pd.DataFrame, design: SampleDesign, ids: npt.NDArray[Any]) -> Ints:
    if len(design.strata) == 1:
        return np.zeros(len(frame), np.int64)
    codes = _codes(frame, "stratum")
    if codes is None:
        raise RecipeError(
            f"the design has {len(design.strata)} strata, and the sample no column 'stratum' that "
            "says where each unit lies; use the file as it was drawn"
        )
    position = {stratum.value: k for k, stratum in enumerate(design.strata)}
    unknown = np.array([code not in position for code in codes.tolist()])
    if unknown.any():
        raise RecipeError(
            f"{counted(int(unknown.sum()), 'unit lies', 'units lie')} in strata that the design "
            "does not have, such as unit "
            f"{ids[unknown][0]} in {codes[unknown][0]}; it has "
            f"{', '.join(f'{s.value} {s.name}' for s in design.strata)}"
        )
    return np.array([position[code] for code in codes.tolist()], np.int64)


def _clusters(frame: pd.DataFrame, design: SampleDesign, ids: npt.NDArray[Any]) -> Ints | None:
    if design.kind == "systematic":
        return _starts(frame)
    if design.kind != "two-stage":
        return None
    codes = _codes(frame, "cluster")
    if codes is None:
        raise RecipeError(
            f"the design is two-stage, and the {len(ids)} units have no column 'cluster' that says "
            "which primary unit each is of; use the file as it was drawn"
        )
    return codes


def _starts(frame: pd.DataFrame) -> Ints | None:
    """Random start of each unit, where there are enough of them to tell a variance."""
    if "cluster" not in frame.columns or frame["cluster"].isna().any():
        return None
    starts = _codes(frame, "cluster")
    return None if starts is None or len(np.unique(starts)) < LEAST_STARTS else starts


def _no_design(frame: pd.DataFrame) -> str:
    return (
        f"the {len(frame)} units are no probability sample: there is neither a design record nor a "
        f"column {PROBABILITY!r}, so that nobody knows what each stands for; areas, and accuracies "
        "of the map, need a sample drawn by a known design, such as rsscale design draws"
    )


def interpreted(*references: Ints) -> npt.NDArray[np.bool_]:
    """Units that have a class in all of some references."""
    is_interpreted: npt.NDArray[np.bool_] = np.all(
        [r != NOT_INTERPRETED for r in references], axis=0
    )
    return is_interpreted
