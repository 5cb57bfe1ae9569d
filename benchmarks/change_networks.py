"""Networks of two dates on the simulated archive: trained in the west, measured far from labels.

    python -m benchmarks.change_networks FOLDER [--networks fc-siam-diff] [--steps 450]

FOLDER is of benchmarks/change.py: an archive of several years in ``archive``, simulated where it is
not there. Labels of change are the truth of two years within the squares that an annotator mapped,
and all else is unlabelled. Each network is trained on them, maps the whole area by ``rsscale run``,
and is measured as benchmarks/change.py measures all methods, beside no change at all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import rsscale as rs
from benchmarks.change import prediction, table, truth_of
from benchmarks.change_case import SIMULATED, Case, network_recipe
from benchmarks.change_figures import Prediction, measure
from benchmarks.options import parser_of
from rsscale.progress.bars import show_progress

NETWORKS = ("fc-ef", "fc-siam-conc", "fc-siam-diff")


def main() -> None:
    options = _options()
    show_progress(False)
    folder = options.folder.absolute()
    case = Case(folder)
    if not (case.archive / "catalog.json").exists():
        rs.simulate(case.archive, size=options.size, years=SIMULATED, seed=options.seed)
    years = SIMULATED[0], SIMULATED[1]
    rows = []
    for network in options.networks:
        sizes = {"width": options.width, "depth": options.depth}
        case.network(network, years, options.steps, **sizes)
        recipe = network_recipe(folder, network, years, options.steps, **sizes)
        run = case.done(recipe, folder / f"run-{network}")
        grid = recipe.grid.build()
        extent = grid.box_of(run.open(network).odc.geobox).snap(100)
        truth = truth_of(case, years, grid, extent)
        none = np.zeros(extent.shape, bool)
        figures = measure(truth, prediction(run, network, grid, extent), Prediction(none, ~none))
        rows.append({"years": 2, "method": network, **figures.to_dict()})
        print(table(rows), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=450, help="of the optimiser, 8 crops each")
    parser.add_argument("--width", type=int, default=16, help="of a network's first scale")
    parser.add_argument("--depth", type=int, default=3, help="scales of a network")
    parser.add_argument("--size", type=int, default=1100, help="width of a scene, px")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
