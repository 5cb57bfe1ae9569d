"""Is the demo's task a real one? The full recipe against the same without one of its parts.

    python -m benchmarks.ablation [--seed 0] [--dates 4] [--json FILE]

Each variant is trained and mapped by itself on the same simulated archive and measured at least
1 km from any training label: the full recipe; without the cloud mask; without Sentinel-2's offset
of baseline 04.00; and single dates, the clearest first. A single date is measured as people would
publish it (a pixel under a cloud is unmapped, so wrong) and on the pixels it saw.
"""

from __future__ import annotations

import json
import tempfile
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.progress.bars import show_progress
from rsscale.recipe import Recipe, read_recipe


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dates", type=int, default=4, help="single dates to try")
    parser.add_argument("--size", type=int, help="width of a scene, px")
    options = parser.parse_args()
    show_progress(False)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), options.seed, options.dates, options.size)
    for row in rows:
        print(
            f"{row['variant']:<22} accuracy {row['overall']:.3f}  lowest F1 {row['lowest_f1']:.3f}"
            f"  below full {rows[0]['overall'] - row['overall']:+.3f}"
            f"  where mapped {row['where_mapped']:.3f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps({"seed": options.seed, "rows": rows}, indent=1))


def measure(scratch: Path, seed: int, dates: int, size: int | None = None) -> list[dict[str, Any]]:
    archive = rs.simulate(scratch / "archive", seed=seed, **({"size": size} if size else {}))
    (scratch / "recipe.yaml").write_text(
        files("rsscale.demo").joinpath("recipe.yaml").read_text("utf-8")
    )
    variants = {
        "full recipe": [],
        "without the mask": ["inputs.s2.mask=null"],
        "without the offset": ["inputs.s2.harmonize=false"],
    }
    for day in clearest(archive, dates):
        last = date.fromisoformat(day) + timedelta(days=2)  # the other tile may follow by two days
        window = f'{{day: ["{day[5:]}", "{last:%m-%d}"]}}'
        variants[f"only {day}"] = [
            f"inputs.s2.composite.windows={window}",
            "periods=[2023]",
            "train.periods=[2023]",
            "change=null",
        ]
    return [evaluate(scratch, archive, name, changes) for name, changes in variants.items()]


def clearest(archive: Any, count: int) -> list[str]:
    """Days of 2023 on which the whole area was seen best."""
    items = rs.search(archive.catalog, archive.collection, datetime="2023")
    cover: dict[str, list[float]] = {}
    for item in items:
        assert item.datetime is not None
        day = item.datetime.date()
        known = {day - timedelta(days=back) for back in range(3)} & {
            date.fromisoformat(d) for d in cover
        }
        cover.setdefault(str(min(known, default=day)), []).append(item.properties["eo:cloud_cover"])
    both = {day: sum(values) for day, values in cover.items() if len(values) > 1}
    return sorted(both, key=lambda day: both[day])[:count]


def evaluate(scratch: Path, archive: Any, name: str, changes: list[str]) -> dict[str, Any]:
    folder = scratch / name.replace(" ", "-")
    recipe: Recipe = read_recipe(scratch / "recipe.yaml", [f"model={folder / 'model'}", *changes])
    rs.train(recipe)
    run = rs.run(recipe, folder / "run")
    accuracy = rs.assess(run, {period: archive.truth[period] for period in recipe.periods})
    mapped = int(accuracy.matrix.sum())
    return {
        "variant": name,
        "overall": accuracy.overall,
        "lowest_f1": min(accuracy.f1(land_class.name) for land_class in accuracy.classes),
        "where_mapped": int(accuracy.matrix.trace()) / mapped,
        "pixels": accuracy.pixels,
    }


if __name__ == "__main__":
    main()
