"""How often 95 % intervals of areas cover the truth, over many samples of a simulated country.

    rsscale demo --out demo
    python -m benchmarks.coverage demo [--draws 1000] [--truth ARCHIVE] [--json FILE]

The population are the pixels of the demo's maps of two years, whose true classes are known. Each
draw takes a sample by one of six designs, interprets it without error, and estimates the area of
every class and of change; an interval covers if the true area lies in it. 1,000 draws tell a share
of 95 % to within 1.4 points. With ``--truth``, the archive that ``rs.simulate(..., seed=1)`` made,
the landscape is another one, mapped with the errors of the demo's map: in the same places, and
with the classes that these are mistaken for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 -- .odc of arrays
import rasterio

import rsscale as rs
from rsscale.survey_estimators.area_estimator import area_estimator
from rsscale.survey_estimators.estimates import Estimate
from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.units import SampleDesign, Stratum, Units

Array = npt.NDArray[Any]
SIZE = 800  # units of a sample
LEAST = 50  # of a stratum
CLUSTER, IN_CLUSTER = 48, 10  # pixels across a primary unit, units drawn in it
STARTS = 20  # of the systematic sample whose variance is that between them
DESIGNS = (
    "simple",
    "stratified by class",
    "stratified by change",
    "systematic",
    "two-stage",
    f"systematic, {STARTS} starts",
)


@dataclass(frozen=True, eq=False)
class Population:
    """Pixels that are mapped in both years and whose truth is known, 1 ha each.

    Attributes
    ----------
    row, col : int array (N,)
    mapped, truth : int array (N, 2)
        Positions of classes, by year.
    mapped_change : int array (N,)
        0 or 1, as the change layer has it.
    names : list of str
    """

    row: Array
    col: Array
    mapped: Array
    truth: Array
    mapped_change: Array
    names: list[str]

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def change(self) -> Array:
        """1 where the truth of two years differs."""
        return (self.truth[:, 0] != self.truth[:, 1]).astype(int)

    @cached_property
    def areas(self) -> Array:
        """True pixels of each class in the last year."""
        return np.bincount(self.truth[:, -1], minlength=len(self.names))

    @cached_property
    def hectares(self) -> Array:
        """Pixels that are mapped as each class in the last year."""
        return np.bincount(self.mapped[:, -1], minlength=len(self.names)).astype(float)

    @cached_property
    def hectares_of_change(self) -> Array:
        """Pixels that are mapped as unchanged, and as changed."""
        return np.bincount(self.mapped_change, minlength=2).astype(float)

    @cached_property
    def by_class(self) -> list[Array]:
        """Positions of the pixels of each mapped class of the last year."""
        return _positions(self.mapped[:, -1])

    @cached_property
    def by_change(self) -> list[Array]:
        """Positions of the pixels that are mapped as unchanged, and as changed."""
        return _positions(self.mapped_change)

    @cached_property
    def index(self) -> Array:
        """Position of the pixel at a row and column, -1 where none is."""
        found = np.full((self.row.max() + 1, self.col.max() + 1), -1)
        found[self.row, self.col] = np.arange(len(self))
        return found

    @cached_property
    def clusters(self) -> tuple[Array, Array, Array]:
        """Positions of pixels by primary unit; where each begins, and how many it has."""
        across = self.col.max() // CLUSTER + 1
        cluster = self.row // CLUSTER * across + self.col // CLUSTER
        order = np.argsort(cluster, kind="stable")
        _, first, sizes = np.unique(cluster[order], return_index=True, return_counts=True)
        return order, first, sizes

    @classmethod
    def read(cls, folder: Path) -> Population:
        """From the folder of ``rsscale demo``."""
        run = rs.Run(folder / "run")
        product, change = run.open(), run.open_change().change.values[0]
        mapped = product.classification.values
        box = product.odc.geobox
        truth = np.full(mapped.shape, 255, np.uint8)
        for k, year in enumerate(product.time.dt.year.values):
            with rasterio.open(folder / f"archive/truth/landcover_{year}.tif") as file:
                offset = ~box.affine * (file.transform.c, file.transform.f)
                col, row = (round(v) for v in offset)
                values = file.read(1)
            rows = slice(max(row, 0), min(row + values.shape[0], box.shape[0]))
            cols = slice(max(col, 0), min(col + values.shape[1], box.shape[1]))
            truth[k, rows, cols] = values[
                rows.start - row : rows.stop - row, cols.start - col : cols.stop - col
            ]
        known = (mapped != 255).all(axis=0) & (truth != 255).all(axis=0) & (change != 255)
        row, col = np.nonzero(known)
        names = json.loads(product.classification.attrs["class_names"])
        return cls(
            row,
            col,
            mapped[:, known].T.astype(int) - 1,
            truth[:, known].T.astype(int) - 1,
            change[known].astype(int),
            names,
        )


def transplanted(people: Population, archive: Path) -> Population:
    """The landscape of another archive, mapped with the errors of a population."""
    rng = np.random.default_rng(0)
    years = []
    for file in sorted((archive / "truth").glob("landcover_*.tif"))[-people.truth.shape[1] :]:
        with rasterio.open(file) as raster:
            years.append(raster.read(1).astype(int) - 1)
    row, col = people.row - people.row.min(), people.col - people.col.min()
    there = (row < years[0].shape[0]) & (col < years[0].shape[1])
    row, col = row[there], col[there]
    truth = np.stack([year[row, col] for year in years], axis=1)
    there[there] = known = (truth < len(people.names)).all(axis=1)
    row, col, truth = row[known], col[known], truth[known]
    mapped = np.empty_like(truth)
    for k in range(truth.shape[1]):
        was, said = people.truth[:, k], people.mapped[:, k]
        errors = np.zeros((len(people.names),) * 2)
        np.add.at(errors, (was[was != said], said[was != said]), 1)
        chances = np.cumsum(errors, axis=1) / errors.sum(axis=1, keepdims=True)
        mistaken = (chances[truth[:, k]] < _by_patch(row, col, rng)[:, None]).sum(axis=1)
        mapped[:, k] = np.where((was != said)[there], mistaken, truth[:, k])
    found = people.mapped_change[people.change == 1].mean()
    wrongly = (people.mapped_change & (1 - people.change))[there]
    has_changed = truth[:, 0] != truth[:, -1]
    is_seen = _by_patch(row, col, rng) < found
    change = np.where(has_changed, is_seen, wrongly).astype(int)
    return Population(row, col, mapped, truth, change, people.names)


def _by_patch(row: Array, col: Array, rng: np.random.Generator) -> Array:
    """Numbers from 0 to 1 that are the same in patches of 16 pixels."""
    numbers = rng.random((int(row.max()) // 16 + 1, int(col.max()) // 16 + 1))
    return np.asarray(numbers[row // 16, col // 16])


def draw(people: Population, design: str, rng: np.random.Generator) -> tuple[Array, Units]:
    """Positions of a sample's pixels, and its units with weights."""
    if design == "simple":
        chosen = rng.choice(len(people), SIZE, replace=False)
        return chosen, _units(design, people, chosen)
    if design == "systematic":
        chosen = _lattice(people, rng)
        return chosen, _units(design, people, chosen)
    if design.startswith("systematic"):
        return _lattices(people, rng)
    if design == "two-stage":
        return _clusters(people, rng)
    return _stratified(people.by_class if design.endswith("class") else people.by_change, rng)


def _positions(strata: Array) -> list[Array]:
    return [np.flatnonzero(strata == h) for h in range(int(strata.max()) + 1)]


def _whole(people: Population) -> Stratum:
    return Stratum(0, "all", len(people), len(people))


def _units(kind: Any, people: Population, chosen: Array) -> Units:
    place = np.stack([people.col[chosen], people.row[chosen]], axis=1).astype(float)
    design = SampleDesign(kind, (_whole(people),))
    return Units.of(design, np.zeros(len(chosen), np.int64), place=place)


def _stratified(strata: list[Array], rng: np.random.Generator) -> tuple[Array, Units]:
    """Proportional, with a least number; change gets a quarter (Olofsson et al. 2014, 5.1)."""
    sizes = np.array([len(pixels) for pixels in strata])
    counts = np.maximum((SIZE * sizes / sizes.sum()).round().astype(int), LEAST)
    if len(sizes) == 2:
        counts = np.array([SIZE - SIZE // 4, SIZE // 4])
    drawn = [
        rng.choice(pixels, min(n, len(pixels)), replace=False)
        for pixels, n in zip(strata, counts, strict=True)
    ]
    design = SampleDesign(
        "stratified", tuple(Stratum(h, str(h), n, n) for h, n in enumerate(sizes.tolist()))
    )
    of_stratum = np.repeat(np.arange(len(drawn)), [len(pixels) for pixels in drawn])
    return np.concatenate(drawn), Units.of(design, of_stratum)


def _lattice(people: Population, rng: np.random.Generator) -> Array:
    step = np.sqrt(len(people) / SIZE)
    x, y = rng.uniform(0, step, 2)
    cols = np.arange(x, people.col.max() + 1, step).astype(int)
    rows = np.arange(y, people.row.max() + 1, step).astype(int)
    found = people.index[np.ix_(rows, cols)].ravel()
    return found[found >= 0]


def _lattices(people: Population, rng: np.random.Generator) -> tuple[Array, Units]:
    """Wider lattices, as many as there are starts, each of which is a sample by itself."""
    step = round(float(np.sqrt(len(people) / SIZE * STARTS)))
    parts = []
    for place in rng.choice(step**2, STARTS, replace=False):
        rows = np.arange(place // step, people.row.max() + 1, step)
        cols = np.arange(place % step, people.col.max() + 1, step)
        found = people.index[np.ix_(rows, cols)].ravel()
        parts.append(found[found >= 0])
    chosen = np.concatenate(parts)
    start = np.repeat(np.arange(STARTS), [len(part) for part in parts])
    place = np.stack([people.col[chosen], people.row[chosen]], axis=1).astype(float)
    design = SampleDesign("systematic", (_whole(people),))
    stratum = np.zeros(len(chosen), np.int64)
    return chosen, Units.of(design, stratum, cluster=start, place=place)


def _clusters(people: Population, rng: np.random.Generator) -> tuple[Array, Units]:
    """Square primary units with equal probabilities, then pixels in each."""
    order, first, sizes = people.clusters
    total, drawn = len(sizes), SIZE // IN_CLUSTER
    parts, probability, home = [], [], []
    for c in rng.choice(total, drawn, replace=False):
        count = min(IN_CLUSTER, sizes[c])
        parts.append(order[first[c] + rng.choice(sizes[c], count, replace=False)])
        probability += [drawn / total * count / sizes[c]] * count
        home += [c] * count
    chosen = np.concatenate(parts)
    design = SampleDesign("two-stage", (_whole(people),), total)
    stratum = np.zeros(len(chosen), np.int64)
    units = Units.of(design, stratum, np.array(probability), cluster=np.array(home))
    return chosen, units


def estimates(
    people: Population, design: str, rng: np.random.Generator
) -> Iterator[tuple[str, float, Estimate]]:
    """Of one draw: what, its true hectares, the estimate."""
    chosen, units = draw(people, design, rng)
    direct = Estimator.direct(units)
    mapped, truth = people.mapped[chosen, -1], people.truth[chosen, -1]
    for k, one in _areas(direct, mapped, truth, people.hectares):
        yield people.names[k], float(people.areas[k]), one
    change = people.change[chosen]
    for k, one in _areas(direct, people.mapped_change[chosen], change, people.hectares_of_change):
        if k == 1:
            yield "change", float(people.change.sum()), one


def _areas(
    direct: Estimator, mapped: Array, truth: Array, hectares: Array
) -> Iterator[tuple[int, Estimate]]:
    """Of each class, by the estimator that is chosen for the sample."""
    chosen = area_estimator(direct, mapped, truth, hectares)
    for k in range(len(hectares)):
        if chosen.mapped_hectares is None:
            yield k, chosen.estimator.area(truth == k, str(k))
        else:
            yield k, chosen.estimator.difference(truth == k, mapped == k, hectares[k], str(k))


def coverage(
    people: Population, design: str, draws: int, progress: Callable[[], None] = lambda: None
) -> dict[str, dict[str, float]]:
    """Of each class and of change: share of draws whose interval covers the truth, and more."""
    rng = np.random.default_rng(DESIGNS.index(design))
    found: dict[str, list[tuple[float, ...]]] = {}
    truth: dict[str, float] = {}
    for _ in range(draws):
        for name, area, one in estimates(people, design, rng):
            truth[name] = area
            low, high = one.low, one.high
            covers = low is not None and high is not None and low <= area <= high
            found.setdefault(name, []).append(
                (
                    covers,
                    one.value if one.value is not None else np.nan,
                    one.se if one.se is not None else np.nan,
                    high - low if low is not None and high is not None else np.nan,
                )
            )
        progress()
    rows = {}
    for name, some in found.items():
        covered, values, errors, widths = np.array(some, float).T
        rows[name] = {
            "true": truth[name],
            "coverage": float(covered.mean()),
            "bias": float(np.nanmean(values) / truth[name] - 1),
            "se": float(np.nanmean(errors) / truth[name]),
            "spread": float(np.nanstd(values) / truth[name]),
            "width": float(np.nanmean(widths) / truth[name]),
            "not_estimable": float(np.isnan(values).mean()),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of rsscale demo")
    parser.add_argument("--truth", type=Path, help="another archive, with the errors of this map")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--designs", nargs="*", choices=DESIGNS, default=DESIGNS)
    options = parser.parse_args()
    people = Population.read(options.folder)
    if options.truth:
        people = transplanted(people, options.truth)
    report: dict[str, Any] = {"pixels": len(people), "units": SIZE, "draws": options.draws}
    report["designs"] = {}
    names = [*people.names, "change"]
    print(f"{len(people):,} pixels, {SIZE} units, {options.draws:,} draws: coverage in %")
    print(f"{'':24}" + "".join(f"{name[:12]:>13}" for name in names))
    for design in options.designs:
        rows = coverage(people, design, options.draws)
        report["designs"][design] = rows
        print(f"{design:24}" + "".join(f"{100 * rows[n]['coverage']:13.1f}" for n in names))
        print(f"{'  mean se / spread':24}" + "".join(
            f"{rows[n]['se'] / rows[n]['spread']:13.2f}" for n in names
        ), flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
