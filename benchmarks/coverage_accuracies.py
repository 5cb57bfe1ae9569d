"""How often 95 % intervals of accuracies cover the truth, in samples that are stratified by class.

    python -m benchmarks.coverage_accuracies [--draws 1000] [--json FILE]

Three populations of known error matrices: six classes of which four are mapped almost without an
error and two almost only with errors; six that are all mapped well; and Olofsson et al. (2014,
table 8), whose rare classes are left out by the map in strata of millions of pixels. Units are
shared out alike among the strata, or by their areas with ten at least.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.survey_estimators.estimates import Estimate
from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.units import SampleDesign, Stratum, Units

Floats = npt.NDArray[np.float64]
SIZES = (100, 300, 800)
LEAST = 10  # units of a stratum


def populations() -> dict[str, Floats]:
    """Shares of the ground: rows map, columns reference."""
    shares = np.array([0.3, 0.2, 0.175, 0.15, 0.1, 0.075])
    counts = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    olofsson = counts / counts.sum(axis=1, keepdims=True)
    return {
        "four strata agree": _matrix(shares, [0.998, 0.995, 0.99, 0.98, 0.03, 0.02]),
        "all mapped well": _matrix(shares, [0.999, 0.995, 0.99, 0.98, 0.97, 0.95]),
        "Olofsson et al. 2014": olofsson * np.array([[0.02], [0.015], [0.32], [0.645]]),
    }


def _matrix(shares: Floats, users: list[float]) -> Floats:
    """Errors of a class are shared out among the others by their areas."""
    others = shares[None, :] * (1 - np.eye(len(shares)))
    right = np.array(users)
    errors = (1 - right)[:, None] * others / others.sum(axis=1, keepdims=True)
    return shares[:, None] * (errors + np.diag(right))


def allocations(shares: Floats, size: int) -> dict[str, list[int]]:
    """Units of each stratum."""
    return {
        "equal": [size // len(shares)] * len(shares),
        "by area": np.maximum((size * shares).round().astype(int), LEAST).tolist(),
    }


def figures(
    matrix: Floats, units: list[int], rng: np.random.Generator
) -> Iterator[tuple[str, float, Estimate]]:
    """Of one draw: what, its truth, the estimate."""
    shares, classes = matrix.sum(axis=1), range(len(matrix))
    mapped = np.repeat(np.arange(len(matrix)), units)
    chances = matrix / shares[:, None]
    reference = np.concatenate(
        [rng.choice(len(matrix), n, p=chances[h]) for h, n in enumerate(units)]
    )
    strata = tuple(Stratum(h, str(h), np.inf, float(shares[h])) for h in classes)
    estimator = Estimator.direct(Units.of(SampleDesign("stratified", strata), mapped))
    right = mapped == reference
    yield (
        "overall",
        float(np.trace(matrix)),
        estimator.ratio(right, np.ones(len(right)), "", by_map=True),
    )
    for k in classes:
        said, there, both = mapped == k, reference == k, matrix[k, k]
        yield "user's", both / shares[k], estimator.ratio(right & said, said, "", by_map=True)
        truth = matrix[:, k].sum()
        yield "producer's", both / truth, estimator.ratio(right & there, there, "")
        yield "area", truth, estimator.area(there, "")


def coverage(
    matrix: Floats, units: list[int], draws: int, progress: Callable[[], None] = lambda: None
) -> dict[str, dict[str, float]]:
    """Of each figure: the mean, the least and the most of its classes, in %; the width."""
    rng = np.random.default_rng(len(units) + sum(units))
    held: dict[tuple[str, float], list[tuple[bool, float]]] = {}
    for _ in range(draws):
        for name, truth, estimate in figures(matrix, units, rng):
            if estimate.low is not None and estimate.high is not None:
                covers = estimate.low - 1e-9 <= truth <= estimate.high + 1e-9
                held.setdefault((name, truth), []).append((covers, estimate.high - estimate.low))
        progress()
    summary = {}
    for figure in ("overall", "user's", "producer's", "area"):
        some = [np.array(rows).mean(axis=0) for (kind, _), rows in held.items() if kind == figure]
        shares, widths = 100 * np.array(some)[:, 0], np.array(some)[:, 1]
        summary[figure] = {
            "least": float(shares.min()),
            "mean": float(shares.mean()),
            "most": float(shares.max()),
            "half_width": float(widths.mean() / 2),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: list[dict[str, Any]] = []
    print(f"{'population':22}{'units':>6} {'allocation':10}", end="")
    print("   overall    user's least-most   producer's least-most   areas least-most, %")
    for name, matrix in populations().items():
        for size in SIZES:
            for how, units in allocations(matrix.sum(axis=1), size).items():
                rows = coverage(matrix, units, options.draws)
                report.append({"population": name, "size": size, "allocation": how} | rows)
                shown = "".join(
                    f"{rows[f]['least']:14.1f}-{rows[f]['most']:.1f}" for f in list(rows)[1:]
                )
                print(f"{name:22}{size:6} {how:10}{rows['overall']['least']:9.1f}{shown}",
                      flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
