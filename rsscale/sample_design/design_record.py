"""The design record of a sample: JSON beside its file, which an estimator reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsscale.geo.grid import Grid
from rsscale.runs.run import Run
from rsscale.sample_design.draw_run import FILES, STEP, DrawRun
from rsscale.sample_design.sample_design import SampleDesign
from rsscale.sample_design.sample_file import FORMAT
from rsscale.sample_passes.counting_pass import CountingPass
from rsscale.sample_passes.sample_options import SampleOptions


def design_record(
    job: DrawRun, design: SampleDesign, drawn: Run, tiles: CountingPass, grid: Grid
) -> dict[str, Any]:
    """The design, as it lies beside the file."""
    options, strata = design.options, design.strata
    population = tiles.population
    is_stratified = bool(options.stratified_by)
    rows = [
        {
            "value": stratum.value if is_stratified else 0,
            "name": stratum.name,
            "pixels": stratum.pixels,
            "hectares": stratum.hectares,
            "drawn": int(count),
        }
        for stratum, count in zip(strata.all, design.sizes, strict=True)
    ]
    before = job.before.record["draws"] if job.before is not None else []
    count = design.size - sum(addition["units"] for addition in before)
    given = options.model_dump(mode="json", exclude_defaults=True)
    given |= {name: Path(given[name]).name for name in FILES if name in given}
    return {
        "format": FORMAT,
        "design": options.design,
        "seed": options.seed,
        "run": job.frozen.name,
        "step": job.step,
        "layer": population.layer.name,
        "layers": [layer for _, layer in population.places],
        "span": tiles.span,
        "grid": {"crs": grid.crs, "resolution": grid.resolution, "origin": list(grid.origin)},
        "strata": rows,
        "clusters": _clusters(drawn, options),
        "classes": [
            {"value": value, "name": name} for value, name in sorted(population.names.items())
        ],
        "periods": [int(period) for period in tiles.span.split("-")],
        "draws": [*before, {"seed": options.seed, "units": count}],
        "total_pixels": int(strata.pixels.sum()),
        "total_hectares": strata.hectares,
        "unmapped_pixels": strata.unmapped[0],
        "unmapped_hectares": strata.unmapped[1],
        "left_out_pixels": strata.left_out[0],
        "left_out_hectares": strata.left_out[1],
        "options": given,
    }


def _clusters(drawn: Run, options: SampleOptions) -> dict[str, Any] | None:
    """Primary units of two stages; the spacing and starts of a systematic sample are options."""
    if options.design != "two-stage" or options.lattice is None:
        return None
    cells = drawn.table(f"{STEP}-cells").to_pandas()
    rows, cols = options.lattice
    hits = {hit for text in cells["hits"] for hit in text.split()}
    return {
        "size_px": rows if rows == cols else [rows, cols],
        "total": int(cells["of_units"].iloc[0]),
        "drawn": len(hits),
        "per_cluster": options.per_block,
        "chosen": options.chosen,
        "with_replacement": options.chosen == "size",
    }
