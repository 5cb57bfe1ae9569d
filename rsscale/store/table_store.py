"""Store the rows of a step: one Parquet file a tile, and one of the gathered rows."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsscale.errors import RsscaleError, RunFolderError, nearest
from rsscale.layers import TileKey
from rsscale.store.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

    from rsscale.store.run_folder import RunFolder

TABLE = "table"
"""Key of a ledger entry's digest of a tile's rows."""


@dataclass(frozen=True)
class TableStore:
    """The tables of one step: a sink that writes whole files.

    Attributes
    ----------
    storage : Storage
        The run folder.
    step : str
        Files lie in ``tables/<step>/<span>/<tile>.parquet``.
    schema : pyarrow.Schema
        Of all of them.
    """

    storage: Storage
    step: str
    schema: pa.Schema

    def write(
        self,
        key: TileKey,
        table: pa.Table,
        *,
        before_write: Callable[[], None] = lambda: None,
    ) -> dict[str, str]:
        """Write one tile's rows, whole or not at all, and durable; returns the digest.

        Raises
        ------
        RsscaleError
            When the table has another schema.
        """
        content = encode(table, self.schema, str(key))
        before_write()
        self.storage.write(self.name(key), content, point="before-rename")
        return {TABLE: hashlib.sha256(content).hexdigest()}

    def stored(self, key: TileKey) -> dict[str, str]:
        """SHA-256 of a tile's file as it is now; ``""`` where it is not there."""
        try:
            return {TABLE: hashlib.sha256(self.storage.read(self.name(key))).hexdigest()}
        except FileNotFoundError:
            return {TABLE: ""}

    def read(self, key: TileKey) -> pa.Table:
        """A tile's rows."""
        return decode(self.storage.read(self.name(key)))

    def name(self, key: TileKey) -> str:
        """Name of a tile's file."""
        return f"tables/{self.step}/{key.span}/{key.tile}.parquet"


def encode(table: pa.Table, schema: pa.Schema, name: str) -> bytes:
    """A table as Parquet, the same bytes for the same rows.

    Raises
    ------
    RsscaleError
        When the table has another schema than was declared.
    """
    import pyarrow.parquet as pq

    if not table.schema.equals(schema):
        raise RsscaleError(
            f"{name} gave a table of {_fields(table.schema)}, declared is {_fields(schema)}; give "
            "the declared columns, in their order and types"
        )
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(schema.metadata), file, compression="zstd")
    return file.getvalue()


def decode(content: bytes) -> pa.Table:
    """A table from the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(content))


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


def _fields(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
