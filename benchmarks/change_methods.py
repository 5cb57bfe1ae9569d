"""Methods that tell change: the steps of a recipe, by name."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.change_case import SERIES, SIMULATED, Case, Years

Steps = dict[str, dict[str, Any]]
Method = Callable[[Case, Years], Steps]
"""From a case and years to steps, of which ``change`` is measured: its layers ``change`` or
``alert``, and where it has them ``change_probability``, and ``change_year`` or ``change_date``."""


def _ends(years: Years) -> dict[str, Any]:
    return {"from": years[0], "to": years[-1]}


def _of_composites(case: Case, years: Years) -> dict[str, Any]:
    """Two dates of imagery; the archive has no shift between them, and none is looked for."""
    return {"of": case.composites(), "register": "off", **_ends(years)}


def differencing(case: Case, years: Years) -> Steps:
    return {"change": {"kind": "post-classification", "of": case.map_step, **_ends(years)}}


def temporal_model(case: Case, years: Years) -> Steps:
    return {
        "change": {"kind": "temporal-model", "of": case.map_step, "years": False, **_ends(years)}
    }


def of_labels(case: Case, years: Years) -> Steps:
    (step,) = temporal_model(case, years).values()
    labels = {
        "file": str(case.archive / "labels.gpkg"), "class": "landcover", "period_column": "year",
    }  # fmt: skip
    return {"change": step | {"transitions": "labels", "labels": labels}}


def with_evidence(method: Method, least_shared: float = 1.0) -> Method:
    """And how far each pixel moved between each year and the next."""

    def steps(case: Case, years: Years) -> Steps:
        (change,) = method(case, years).values()
        vectors = {
            f"vectors-{pair[1]}": {
                "kind": "spectral-change",
                "method": "change-vector",
                "least_shared": least_shared,
                **_of_composites(case, pair),
            }
            for pair in pairwise(years)
        }
        of = {"map": change["of"], **{name: f"{name}-magnitude" for name in vectors}}
        return {**vectors, "change": change | {"of": of}}

    return steps


def of_smoothed_maps(case: Case, years: Years) -> Steps:
    (step,) = temporal_model(case, years).values()
    smooth = {"kind": "smooth", "of": case.map_step, "method": "gaussian-markov"}
    return {"smooth": smooth, "change": step | {"of": "smooth"}}


def without_small_pieces(method: Method) -> Method:
    def steps(case: Case, years: Years) -> Steps:
        (told,) = method(case, years).values()
        sieve = {
            "kind": "minimum-mapping-unit", "of": "told", "layer": "change", "hectares": 0.2,
        }  # fmt: skip
        return {"told": told, "change": sieve}

    return steps


def spectral(method: str) -> Method:
    def steps(case: Case, years: Years) -> Steps:
        step = {"kind": "spectral-change", "method": method, **_of_composites(case, years)}
        return {"change": step}

    return steps


def _network_step(model: Path, years: Years) -> dict[str, Any]:
    step = {"kind": "change-network", "model": str(model), "of": "s2", "register": "off"}
    return step | _ends(years)


def siamese(case: Case, years: Years) -> Steps:
    """As recipes/change-siamese.yaml: the first and the last year."""
    model = case.network("fc-siam-diff", (years[0], years[-1]), width=16, depth=3)
    return {"change": _network_step(model, years)}


def forest_of_both_dates(case: Case, years: Years) -> Steps:
    """Pixels of the first and the last year, learnt from the same labels of change."""
    model = case.network("random_forest", (years[0], years[-1]))
    return {"change": _network_step(model, years)}


def series(case: Case, years: Years) -> Steps:
    """As recipes/alerts.yaml: what is watched begins with the second year, history is before it."""
    del case
    before = [year for year in SIMULATED if year < years[1]]
    # A single year of observations tells no more than one wave.
    harmonics = 2 if len(before) > 1 else 1
    return {
        "change": {
            "kind": "series-breaks", "of": SERIES, "index": "NBR", "trend": False,
            "history": [before[0], before[-1]], "monitor": years[1], "harmonics": harmonics,
        }
    }  # fmt: skip


METHODS: dict[str, Method] = {
    "label differencing": differencing,
    "temporal model": temporal_model,
    "temporal, 0.2 ha": without_small_pieces(temporal_model),
    "temporal, of labels": of_labels,
    "of labels, 0.2 ha": without_small_pieces(of_labels),
    "temporal, evidence": with_evidence(temporal_model),
    "of labels, evidence": with_evidence(of_labels),
    "temporal, some windows": with_evidence(temporal_model, least_shared=0.3),
    "of labels, some windows": with_evidence(of_labels, least_shared=0.3),
    "temporal, smoothed maps": of_smoothed_maps,
    "siamese network": siamese,
    "forest of both dates": forest_of_both_dates,
    "change vectors": spectral("change-vector"),
    "IR-MAD": spectral("ir-mad"),
    "series": series,
}
"""The first is what all are compared with."""
