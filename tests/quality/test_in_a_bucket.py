"""Gates of a run in a bucket: its check, gates.json and pictures lie there too."""

import pytest
from checked_map import allowed, recipe

import rsscale as rs
from rsscale.quality.gates_file import read_gates
from rsscale.store.run_folder import RunFolder


@pytest.mark.extended
def test_a_run_in_a_bucket(s3_server: str) -> None:
    del s3_server
    with allowed():
        rs.run(recipe(periods=[2023]), "s3://maps/checked", threads=2, device="cpu")
    assert rs.check_quality("s3://maps/checked", threads=2).passed
    folder = RunFolder.at("s3://maps/checked")
    found = read_gates(folder)
    assert found is not None
    assert found.is_current(folder)
    assert list(folder.storage.names("gates")) == ["gates/seams-tiles-1.png"]
