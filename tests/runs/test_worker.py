"""What a worker needs: the run folder, and neither STAC nor the code that knows its dialects."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rsscale.plans.plan import RunPlan
from rsscale.store.run_folder import RunFolder

PROGRAM = """
import json, sys
from rsscale.plans.plan import RunPlan
from rsscale.runs.worker import run_tile
from rsscale.store.lease import acquire
from rsscale.store.run_folder import RunFolder

folder = RunFolder.at(sys.argv[1])
plan = RunPlan.read(folder)
task = plan.task(next(plan.keys(plan.steps[0])))
folder.ledger.delete(task.key)
with acquire(folder.storage) as lease:
    result = run_tile(folder.url, plan.hash, lease.epoch, task)
print(json.dumps([result["facts"]["pixels"], sorted(sys.modules)]))
"""
DIALECTS = (
    "assets", "bands", "products", "radiometry", "versions", "freeze", "item_index"
)  # fmt: skip
STAC = {
    "pystac",
    "pystac_client",
    "stackstac",
    "odc.stac",
    "rsscale.catalog",
    *(f"rsscale.items.{name}" for name in DIALECTS),
}


@pytest.mark.extended
def test_a_worker_imports_no_stac(landscape_run: Path, tmp_path: Path) -> None:
    shutil.copytree(landscape_run, tmp_path / "run")
    before = RunPlan.read(RunFolder.at(tmp_path / "run"))
    key = next(before.keys(before.steps[0]))
    entry = before.folder.ledger.read(key)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "run")],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pixels, modules = json.loads(done.stdout)
    assert pixels > 0
    assert not STAC & set(modules)
    again = before.folder.ledger.read(key)
    assert entry is not None
    assert again is not None
    assert again.digests == entry.digests
