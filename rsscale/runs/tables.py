"""Read the rows of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsscale.errors import RunFolderError, nearest
from rsscale.store.table_store import decode

if TYPE_CHECKING:
    import pyarrow as pa

    from rsscale.store.run_folder import RunFolder


def read_table(folder: RunFolder, step: str) -> pa.Table:
    """The rows of a step of a run, of all its tiles together.

    Parameters
    ----------
    folder : RunFolder
    step : str
        A pass that writes rows, or a gather.

    Raises
    ------
    RunFolderError
        When there is no such step, or it has written no rows yet.
    """
    import pyarrow as pa

    steps = folder.read_state()["steps"]
    if step not in steps:
        raise RunFolderError(f"{folder.url} has no step {step!r}{nearest(step, steps)}")
    names = list(folder.storage.names(f"tables/{step}"))
    if not names:
        raise RunFolderError(f"step {step!r} of {folder.url} has written no rows")
    tables = []
    for name in names:
        try:
            tables.append(decode(folder.storage.read(name)))
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise RunFolderError(
                f"{folder.url}/{name} is damaged ({reason}); compute it again with: rsscale resume "
                f"{folder.url}"
            ) from None
    return pa.concat_tables(tables)
