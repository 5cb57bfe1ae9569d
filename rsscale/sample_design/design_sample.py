"""Design and draw a sample of a finished run, on the engine that made it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rsscale.errors import RecipeError
from rsscale.geo.area import read_area
from rsscale.reference.label_raster import read_label_raster
from rsscale.reference.label_rules import LabelRules
from rsscale.runs.run import Run, RunOptions
from rsscale.sample_design.adding import enlarged, options_before
from rsscale.sample_design.chips import write_chips
from rsscale.sample_design.design_record import design_record
from rsscale.sample_design.draw_run import FILES, STEP, DrawRun, counting_pass_of
from rsscale.sample_design.sample_design import SampleDesign, with_units
from rsscale.sample_design.sample_file import (
    added_to,
    check_target,
    read_sample,
    units_of,
    write_sample,
)
from rsscale.sample_passes.cells import with_lattice
from rsscale.sample_passes.counting_pass import CountingPass
from rsscale.sample_passes.drawing_pass import columns_of
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.sample_size import Expectation, allocate, needed_size, sizes_of
from rsscale.sample_passes.strata import Strata, strata_of
from rsscale.steps.options import one_line
from rsscale.store.run_folder import AREA
from rsscale.store.step_version import span_versions, step_version

if TYPE_CHECKING:
    from distributed import Client


def design_sample(
    run: Run | str | Path,
    to: str | Path,
    *,
    step: str = "map",
    add_to: str | Path | None = None,
    dry_run: bool = False,
    lonlat: bool = False,
    chips: str | Path | None = None,
    client: Client | str | None = None,
    threads: int | None = None,
    watch: RunOptions | None = None,
    **options: Any,
) -> SampleDesign:
    """Draw a probability sample of a map for people to interpret, or plan one.

    Strata are counted and units are drawn by passes over the tiles, on any cluster; they are kept
    in a run folder beside the file, ``<name>.draw``, so that a second call, a dry run before
    it or a draw that adds to it does not count again. Each pixel has a permanent random number by
    the seed and its place: the sample is the same for any tile size and number of workers.

    Parameters
    ----------
    run : Run or path
        Finished.
    to : path
        ``NAME.gpkg`` (layer ``sample``) or ``NAME.parquet`` (GeoParquet), written anew:
        ``id``, ``stratum``, ``stratum_name``, ``cluster`` (two stages, or several starts),
        ``inclusion_probability`` and ``reference``, which the interpreter fills with the name or
        value of a class; of a sample of two periods ``reference_2023`` and ``reference_2024``. The
        class of the map is not in it. The design lies beside it: ``NAME.gpkg.design.json``.
    step : str
        Whose classes are sampled.
    add_to : path, optional
        A sample of this run: it is drawn further, and ``to`` has its units, with their ids and
        references, and those that are added, with the inclusion probabilities of both together.
        ``size`` (or ``sizes``, ``blocks``, ``starts``) are then those to add, and no other option.
    dry_run : bool
        Count and plan; draw and write no sample.
    lonlat : bool
        Columns ``longitude`` and ``latitude``, too.
    chips : path, optional
        A folder of pictures of each unit, from the composites that the run read.
    client, threads, watch
        As for :func:`rsscale.run`.
    **options
        See :class:`rsscale.sample_passes.sample_options.SampleOptions`: ``design``, ``strata``,
        ``periods``, ``size``, ``standard_error``, ``allocation``, ``seed``, ….

    Returns
    -------
    SampleDesign
        Print it: strata, units, and the standard errors to expect of each allocation.

    Raises
    ------
    RecipeError
        When options are wrong, strata do not cover the map, regions overlap, or the sample to add
        to is of another version of the map.
    RunFolderError
        When the run is not finished.
    TilesFailedError
        When tiles could not be read; call again to try just those.

    Notes
    -----
    Inclusion probabilities are exact, but that a systematic sample's size is random. See
    ``docs/sample-design.md``; Cochran (1977); Olofsson et al. (2014); Stehman (2009), Sampling
    designs for accuracy assessment of land cover, International Journal of Remote Sensing 30.

    Examples
    --------
    A sample for the areas of classes and of change, planned and then drawn::

        plan = rs.design_sample("out/lc", "sample.gpkg", dry_run=True, standard_error=0.01)
        print(plan)
        rs.design_sample("out/lc", "sample.gpkg", size=600, expected={"built-up": 0.6})
    """
    run = run if isinstance(run, Run) else Run(run)
    check_target(to, add_to)
    before = None if add_to is None else read_sample(add_to)
    version = step_version(run.folder, step)
    if before is not None:
        options = options_before(before, options, run.folder, step)
    job = DrawRun(run, step, Path(to), before, client, threads, watch)
    planned = _plan(job, _checked(options))
    if dry_run:
        return planned
    drawn = job.carry_out(planned.options)
    return _write(job, planned, drawn, version, lonlat=lonlat, chips=chips)


def _checked(options: Mapping[str, Any]) -> SampleOptions:
    """Options of the call, with the codes of a raster."""
    given = dict(options)
    for name in FILES:
        if given.get(name) is not None:
            path = Path(given[name])
            if not path.is_file():
                raise RecipeError(f"there is no file of {name} at {path}")
            given[name] = os.path.abspath(path)  # noqa: PTH100 -- keeps links
    try:
        return SampleOptions.model_validate(given)
    except ValidationError as error:
        raise RecipeError(one_line(error, SampleOptions, given)) from None


def _plan(job: DrawRun, options: SampleOptions) -> SampleDesign:
    """Count strata, and decide how many units each gets."""
    if options.raster is not None:
        options = _with_codes(options, job.run)
    options = options.model_copy(update={"lattice": job.lattice(options)})
    counted = job.carry_out(options.model_copy(update={"count_only": True}))
    tiles = counting_pass_of(counted)
    totals = columns_of(counted.table(f"{STEP}-strata").to_pandas())
    strata = strata_of(totals, tiles.population, options)
    expected = Expectation.of(strata, tiles.population, options)
    if job.before is not None and options.design in ("simple", "stratified"):
        options = enlarged(options, job.before, strata, expected)
    if options.design == "stratified":
        sizes = sizes_of(expected, strata, options)
        by_name = {stratum.name: int(n) for stratum, n in zip(strata.all, sizes, strict=True)}
        options = options.model_copy(update={"sizes": by_name})
    else:
        options = with_lattice(options, int(strata.pixels.sum()))
        size = _size_of_design(expected, strata, options)
        options = options.model_copy(update={"size": size})
        sizes = allocate(expected, size, "proportional", options)
    notes = tuple(_told_of_change(job, tiles, options))
    return SampleDesign(options, strata, expected, sizes, notes=notes)


def _told_of_change(job: DrawRun, tiles: CountingPass, options: SampleOptions) -> Iterator[str]:
    """A line where change is the difference of two maps, and the run has a step that tells it."""
    if not tiles.population.is_pair or not set(options.strata) & {"transition", "change"}:
        return
    steps: dict[str, Any] = job.run.state["steps"]
    for name, step in steps.items():
        layers = {layer["name"] for layer in step.get("layers") or ()}
        tells = {"from", "to"} <= layers and tiles.span in step.get("spans", ())
        if tells and name != job.step:
            yield (
                f"change is here the difference of the maps of {tiles.span.replace('-', ' and ')} "
                f"of {job.step!r}, with the errors of both; the run tells change in step {name!r}: "
                f"--step {name} stratifies by that"
            )


def _size_of_design(expected: Expectation, strata: Strata, options: SampleOptions) -> int:
    """Units of a design without strata, on average where that is random."""
    total = int(strata.pixels.sum())
    if options.design == "systematic" and options.lattice is not None:
        return round(total * options.starts / (options.lattice[0] * options.lattice[1]))
    if options.design == "two-stage" and options.blocks is not None:
        return options.blocks * options.per_block
    return min(needed_size(expected, options), total)


def _with_codes(options: SampleOptions, run: Run) -> SampleOptions:
    """Which values a raster of strata holds in the area, and their names."""
    area = read_area(run.folder.storage.local(AREA))
    path = Path(str(options.raster))
    try:
        raster = read_label_raster(path, None, None, LabelRules(), area)
    except RecipeError as error:
        raise RecipeError(f"raster: {str(error).removeprefix('labels ')}") from None
    names = {str(land_class.value): land_class.name for land_class in raster.classes}
    codes = {str(code): value for code, value in raster.codes.items()}
    return options.model_copy(update={"raster_codes": codes, "raster_names": names})


def _write(
    job: DrawRun,
    planned: SampleDesign,
    drawn: Run,
    version: str,
    *,
    lonlat: bool,
    chips: str | Path | None,
) -> SampleDesign:
    """The files of what was drawn."""
    tiles = counting_pass_of(drawn)
    grid, periods = job.frozen.grid.build(), tiles.span.split("-")
    rows = drawn.table(STEP).to_pandas()
    units = units_of(rows, planned.strata, planned.options, grid, periods)
    if job.before is not None:
        units = added_to(job.before, units, grid)
    done = with_units(planned, job.to, units)
    record = design_record(job, done, drawn, tiles, grid) | {
        "version": version,
        "versions": span_versions(job.run.folder, job.step),
    }
    write_sample(job.to, units, record, degrees=lonlat)
    if chips is not None:
        count = write_chips(job.run, units, Path(chips), tiles.span)
        done = replace(done, chips=count)
    return done
