"""A file of the archive that is replaced while a cluster maps it, or between two commands."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import fault_archive
import numpy as np
import pytest
import rasterio
from fault_cluster import Cluster, until
from fault_runs import Run, check_clear, differences
from fault_server import serve

pytestmark = pytest.mark.faults

TOLD = re.compile(
    r"item 'scene_2022-05-01', asset 'red' was replaced during the run.*: tiles done before read "
    r"\[(\d+ bytes, .+?)\], this one \[(\d+ bytes, .+?)\].* --update"
)


@pytest.fixture(params=["on a disk", "on a server"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The recipe of an archive of its own."""
    recipe = fault_archive.make(tmp_path / "archive")
    if request.param == "on a disk":
        yield recipe
        return
    with serve(recipe.parent) as server:
        for path in recipe.parent.glob("*/scene*.json"):
            item = json.loads(path.read_text())
            for asset in item["assets"].values():
                asset["href"] = f"{server.url}/{Path(asset['href']).name}"
            path.write_text(json.dumps(item))
        yield recipe


def replace_file(archive: Path) -> None:
    """Other pixels, all at once: nobody reads half a file."""
    path = archive.parent / "scene_2022-05-01_red.tif"
    shutil.copy(path, path.with_suffix(".new"))
    with rasterio.open(path.with_suffix(".new"), "r+") as dataset:
        dataset.write(np.roll(dataset.read(1), 300), 1)
    path.with_suffix(".new").replace(path)


def versions_read(run: Run) -> set[str]:
    """Of the file that is replaced, by the ledger."""
    entries = [json.loads(path.read_text()) for path in run.path.glob("ledger/map/*/*.json")]
    read = [entry["files"].get("scene_2022-05-01", {}) for entry in entries]
    return {version for files in read for name, version in files.items() if name.startswith("red ")}


@pytest.mark.parametrize("during", [True, False])
def test_it_is_told_and_an_update_mends_it(
    cluster: Cluster, archive: Path, tmp_path: Path, *, during: bool
) -> None:
    cluster.ensure()
    run = Run(tmp_path / "run", archive, cluster.address)
    command = run.start()
    until(lambda: run.entry_count() >= 6, "6 tiles")
    if not during:
        command.end()
    replace_file(archive)
    ended = run.wait(command, tick=cluster.heal) if during else run.resume(cluster.heal)
    assert ended.code == 1, ended.err
    check_clear(ended)
    told = TOLD.search(ended.err)
    assert told, ended.err
    assert versions_read(run) == {told[1]} != {told[2]}
    verified = run.do("verify")
    assert "damaged" not in verified.out + verified.err
    again = run.resume(cluster.heal)
    assert again.code == 1
    assert TOLD.search(again.err)
    updated = run.do("run", "--update", tick=cluster.heal)
    assert updated.code == 0, updated.err
    assert versions_read(run) == {told[2]}
    anew = Run(tmp_path / "anew", archive, cluster.address)
    assert anew.do("run", tick=cluster.heal).code == 0
    assert differences(run.path / "product.zarr", anew.path / "product.zarr") == []
    run.close()
    anew.close()
