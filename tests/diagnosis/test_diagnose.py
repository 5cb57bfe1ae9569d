"""What a machine lacks is told, with what to do; secrets are not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from forked import run_command

import rsscale as rs
from rsscale.diagnosis import hardware, software, surroundings
from rsscale.diagnosis.check import Check, Diagnosis


def by_name(found: Diagnosis) -> dict[str, Check]:
    return {check.name: check for check in found.checks}


def test_this_machine_has_all_that_the_tests_need(tmp_path: Path) -> None:
    found = by_name(rs.diagnose(folder=tmp_path))
    assert found["packages"].text.startswith("torch ")
    assert {found[name].status for name in ("dask", "disk", "memory", "rasters")} == {"ok"}
    assert {"GPU", "allocator", "temporary", "network", "credentials"} <= found.keys()


def test_a_recipe_that_can_not_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nperods: [2023]\n")
    found = rs.diagnose(tmp_path / "r.yaml", folder=tmp_path)
    (problem,) = found.problems
    assert problem.name == "recipe"
    assert "perods" in problem.text
    assert str(found).endswith("1 would stop a run (X)")


def test_catalogues_of_a_recipe_are_asked(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    content = {
        "name": "asked",
        "bbox": [5, 47, 5.1, 47.1],
        "grid": {"crs": "EPSG:32631", "resolution": 10},
        "periods": [2023],
        "inputs": {"s2": {
            "catalog": "http://127.0.0.1:9/stac", "collection": "c", "bands": ["red"],
            "composite": {"by": "year"},
        }},
        "model": "m",
    }  # fmt: skip
    recipe.write_text(json.dumps(content))
    found = by_name(rs.diagnose(recipe, folder=tmp_path))
    assert found["recipe"].status == "ok", found["recipe"].text
    assert found["127.0.0.1"].status == "problem"
    assert "does not answer" in found["127.0.0.1"].text


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine example.org login me password T0PSECRET")
    netrc.chmod(0o644)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "T0PSECRET")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:T0PSECRET@proxy:3128")
    monkeypatch.setenv("RSSCALE_TOKENS", "MINE,OTHER")
    monkeypatch.setenv("MINE", "T0PSECRET")
    monkeypatch.delenv("OTHER", raising=False)
    found = rs.diagnose(folder=tmp_path)
    assert "T0PSECRET" not in str(found) + json.dumps(found.to_dict())
    checks = by_name(found)
    assert "AWS_ACCESS_KEY_ID" in checks["credentials"].text
    assert checks["netrc"].remedy == f"chmod 600 {netrc}"
    assert checks["tokens"].text == "RSSCALE_TOKENS allows OTHER, which is not set"
    assert "HTTPS_PROXY" in checks["network"].text


def test_what_makes_torch_slow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = {check.name: check for check in hardware.hardware_checks()}
    if hardware.allocator.has_glibc():
        assert found["allocator"].status == "note"
    if (os.cpu_count() or 1) > 1:
        assert found["cores"].status == "note"


def test_limits_of_a_container_count(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1073741824\n")
    assert hardware.memory_limit((tmp_path / "none", limit)) == 2**30
    limit.write_text("max\n")
    assert hardware.memory_limit((limit,)) is None


def test_packages_that_are_missing_or_harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "_is_installed", lambda name: name not in ("odc-stac", "obstore"))
    assert software.missing_extras() == {"buckets": ["obstore"], "odc": ["odc-stac"]}
    found = {check.name: check for check in software.software_checks()}
    assert found["numbagg"].status == "note"
    assert "odc (lacks odc-stac)" in found["extras"].text
    monkeypatch.setattr(software, "version", lambda name: {"dask": "2026.8.0"}.get(name, "1"))
    found = {check.name: check for check in software.software_checks()}
    assert found["dask"].status == "problem"


def test_a_folder_that_is_not_there_and_a_bundle_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk, _ = surroundings.disk_checks(tmp_path / "none")
    assert disk.status == "problem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    certificates, *_ = surroundings.network_checks(())
    assert certificates.status == "problem"


def test_the_command_ends_with_1_where_a_run_would_fail(tmp_path: Path) -> None:
    well = run_command("doctor", "--json", "--out", str(tmp_path))
    assert (well.returncode, bool(json.loads(well.stdout)["checks"])) == (0, True)
    ill = run_command("doctor", "--json", "--out", "/proc/none")
    assert ill.returncode == 1
