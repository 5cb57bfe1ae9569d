"""A page that is loaded again shows what was computed or estimated since the server started."""

import json
import shutil
from pathlib import Path
from typing import Any

import requests

import rsscale as rs


def document(viewer: rs.Viewer) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{viewer.url}viewer.json", timeout=30).json()
    return found


def test_areas_and_a_sample_that_came_later(viewed_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(viewed_run, tmp_path / "run")
    for name in ("areas.json", "sample.geojson"):
        (run / name).rename(tmp_path / name)
    with rs.view(run) as viewer:
        before = document(viewer)
        assert (before["areas"], before["sample"]) == ({}, False)
        assert requests.get(f"{viewer.url}sample.json", timeout=30).status_code == 404
        for name in ("areas.json", "sample.geojson"):
            shutil.copy(tmp_path / name, run / name)
        after = document(viewer)
        assert after["areas"]["map/classification"]["2024"]["1"]["value"] == 900.0
        assert after["sample"]
        assert requests.get(f"{viewer.url}sample.json", timeout=30).status_code == 200
        areas = json.loads((run / "areas.json").read_text())
        areas["periods"]["2024"]["classes"][0]["hectares"]["value"] = 901.0
        (run / "areas.json").write_text(json.dumps(areas))
        assert document(viewer)["areas"]["map/classification"]["2024"]["1"]["value"] == 901.0


def test_objects_that_came_later(object_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(object_run, tmp_path / "run")
    state = json.loads((run / "run.json").read_text())
    steps = state["steps"]
    without = {**state, "steps": {n: one for n, one in steps.items() if n != "ponds"}}
    without["order"] = [name for name in state.get("order") or steps if name != "ponds"]
    (run / "run.json").write_text(json.dumps(without))
    with rs.view(run) as viewer:
        names = [one["step"] for one in document(viewer)["objects"]]
        assert names == ["once", "never"]
        assert requests.get(f"{viewer.url}objects/ponds/2024.json", timeout=30).status_code == 404
        once = requests.get(f"{viewer.url}objects/once/2023.json", timeout=30).json()
        (run / "run.json").write_text(json.dumps({**state, "updated": "2100-01-01T00:00:00+00:00"}))
        assert [one["step"] for one in document(viewer)["objects"]] == ["ponds", "once", "never"]
        assert requests.get(f"{viewer.url}objects/ponds/2024.json", timeout=30).status_code == 200
        again = requests.get(f"{viewer.url}objects/once/2023.json", timeout=30).json()
        assert again == once
