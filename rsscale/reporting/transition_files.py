"""Write the transition matrix of a run: CSV, Parquet and a picture."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rsscale.errors import RecipeError, StorageError
from rsscale.pictures.charts import require_matplotlib, save_figure
from rsscale.reporting.transition_chart import transition_chart
from rsscale.reporting.transition_matrix import rows_of, transition_matrix
from rsscale.runs.run import Run


def write_transitions(
    run: Run | str | Path,
    to: str | Path,
    *,
    step: str = "transitions",
    zones: Sequence[str] = (),
) -> list[Path]:
    """Write the hectares from class to class as tables, a matrix and a picture.

    ``NAME.csv`` and ``NAME.parquet`` have a row for each zone and pair of classes: ``zone`` (empty
    for the whole area), ``span``, ``from``, ``to``, their names, ``pixels``, ``hectares``, and
    ``estimator``, which is ``mapped``: the hectares are those of the map, with its errors.
    ``NAME-matrix.csv`` is the matrix of the whole area, a row for each class before;
    ``NAME.png`` the same as a heat map, and what changed as flows. NAME is the step's.

    Parameters
    ----------
    run : Run or path
    to : path
        A folder; files that are there are replaced.
    step : str
        A step of kind ``transitions``.
    zones : sequence of str
        Ids of polygons that have a matrix and a picture of their own, too: ``NAME-1-ID.png``.

    Returns
    -------
    list of Path

    Raises
    ------
    RecipeError
        When the run has no such step or zone, or ``to`` is no folder.
    RunFolderError
        When the step is not done.
    StorageError
        When a file can't be written.
    MissingExtraError
        When matplotlib is not installed: the extra ``rsscale[pictures]``.
    """
    require_matplotlib()
    run = run if isinstance(run, Run) else Run(run)
    folder = _folder(to)
    rows = rows_of(run, step)
    matrices = [transition_matrix(run, step, zone) for zone in ("", *zones)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{step}.csv", folder / f"{step}.parquet"]
        rows.to_csv(paths[0], index=False)
        rows.to_parquet(paths[1], index=False)
        for number, matrix in enumerate(matrices):
            name = f"{step}-{number}-{_plain(matrix.zone)}" if number else step
            paths += [folder / f"{name}-matrix.csv", folder / f"{name}.png"]
            matrix.table().to_csv(paths[-2])
            save_figure(transition_chart(matrix), paths[-1])
    except OSError as error:
        raise StorageError(f"{folder} can't be written: {error.strerror or error}") from error
    return paths


def _plain(zone: str) -> str:
    """An id without what no file name can hold."""
    return re.sub(r"[^\w.-]+", "_", zone)[:60]


def _folder(to: str | Path) -> Path:
    if "://" in os.fspath(to):
        raise RecipeError(f"{to} can't be written to; give a local folder, and copy it")
    folder = Path(to)
    if folder.exists() and not folder.is_dir():
        raise RecipeError(f"{folder} is a file; give a folder")
    return folder
