"""The version of a step follows what its tiles have stored, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from rsscale.layers import TileKey
from rsscale.store.ledger import Entry
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import step_version

_ENTRIES = [
    Entry(TileKey("map", span, ix, 0), "f", {"classification": f"{span}{ix}", "confidence": "c"})
    for span in ("2023", "2024")
    for ix in (0, 1)
]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder.at(tmp_path)
    for entry in _ENTRIES:
        run.ledger.commit(entry)
    return run


def test_it_is_the_same_wherever_the_run_lies_and_whoever_wrote_it(
    folder: RunFolder, tmp_path: Path
) -> None:
    other = RunFolder.at(tmp_path / "other")
    for entry in reversed(_ENTRIES):
        other.ledger.commit(replace(entry, fingerprint="g", epoch=4, seconds={"read": 1.0}))
    assert step_version(other) == step_version(folder)


@pytest.mark.parametrize(
    "entry",
    [
        replace(_ENTRIES[0], digests={"classification": "x", "confidence": "c"}),
        replace(_ENTRIES[0], digests={"classification": "20230"}),
        replace(_ENTRIES[0], key=TileKey("map", "2025", 0, 0)),
        replace(_ENTRIES[0], key=TileKey("map", "2023", 0, 0, level=1)),
    ],
)
def test_it_changes_with_a_stored_object_or_a_tile(folder: RunFolder, entry: Entry) -> None:
    before = step_version(folder)
    folder.ledger.commit(entry)
    assert step_version(folder) != before


def test_other_steps_do_not_count(folder: RunFolder) -> None:
    before = step_version(folder)
    folder.ledger.commit(replace(_ENTRIES[0], key=TileKey("change", "2023", 0, 0)))
    assert step_version(folder) == before
    assert step_version(folder, "change") not in (before, step_version(folder, "none"))
