"""The temporal model with evidence of imagery: that of the whole layers, however they were cut."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from formula_pass import CLASSES, SMALL, allowed, formula_recipe, over

import rsscale as rs
from rsscale.change.hidden_markov import Chain, best_path, marginals
from rsscale.change.imagery_evidence import codes_of, estimate_with_evidence
from rsscale.change.transitions import staying
from rsscale.change_passes.temporal_base import likelihood_of
from rsscale.change_passes.temporal_estimate import EstimatedEvidence, evidence_schema
from rsscale.errors import RecipeError

YEARS = [2019, 2020, 2022]
MOVED = {
    "kind": "spectral-change", "of": "map", "from": 2019, "to": 2020, "bands": ["index"],
    "method": "change-vector", "scale": "none", "threshold": 1.0, "register": "off",
}  # fmt: skip
STEP = {
    "kind": "temporal-model", "of": {"map": "map", "evidence": "moved-magnitude"}, "to": 2020,
    "transitions": "estimate", "stay": 0.6,
}  # fmt: skip


def recipe_of(folder: Path, tile: int = 384, *, moved: Any = None, **step: Any) -> dict[str, Any]:
    return formula_recipe(
        folder,
        tile=tile,
        shape=SMALL,
        periods=YEARS,
        options={"layers": ["classification", "probability", "index"]},
        steps={"moved": MOVED | (moved or {}), "change": STEP | step},
    )


def mapped(folder: Path, tile: int = 384, client: Any = None, **step: Any) -> rs.Run:
    with allowed():
        recipe = recipe_of(folder, tile, **step)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("evidence"), 384)


@pytest.mark.slow
@pytest.mark.extended
def test_it_is_the_model_of_the_whole_layers(run: rs.Run) -> None:
    maps = run.open().sel(time=["2019", "2020"])["probability"]
    percents = maps.transpose("time", "class", "y", "x").load()
    magnitude = run.open("moved-magnitude")["magnitude"].squeeze("time").load()
    codes = codes_of(magnitude.values)
    seen = percents.values[:, 0] != 255
    assert len(np.unique(codes[seen.all(axis=0)])) > 20
    rows, cols = ((v.values // 10).round().astype(int) for v in (-percents.y, percents.x))
    every = np.ix_(rows % 8 == 0, cols % 8 == 0)
    known = seen[:, *every].sum(axis=0) > 1
    sample = np.ascontiguousarray(percents.values[..., *every][..., known])
    likelihood, _ = likelihood_of(sample, np.full(4, 0.25))
    begin = staying(4, 0.6)
    matrix, _, evidence = estimate_with_evidence(
        likelihood, codes[every][known][None], YEARS[:2], begin
    )
    table = run.table("change-evidence").to_pandas()
    assert list(table["class"].unique()) == [one.name for one in CLASSES]
    np.testing.assert_allclose(table["unchanged"], evidence.stayed.ravel(), atol=1e-5)
    np.testing.assert_allclose(table["changed"], np.tile(evidence.changed, 4), atol=1e-5)
    assert (np.diff(table["magnitude"][: len(evidence.first)]) > 0).all()
    found = run.table("change-transitions")["probability"].to_numpy().reshape(4, 4)
    np.testing.assert_allclose(found, matrix, atol=1e-5)

    flat, is_seen = likelihood_of(percents.values.reshape(2, 4, -1), np.full(4, 0.25))
    chain = Chain(np.full(4, 0.25), [found], [evidence.staying(codes.reshape(-1))])
    change = run.open("change").squeeze("time").load()
    both = is_seen.all(axis=0).reshape(codes.shape)
    path = best_path(flat, chain)
    wanted = (path[0] != path[1]).reshape(both.shape)
    assert (change["change"].values[both] == wanted[both]).mean() > 0.9999
    probability = marginals(flat, chain, is_seen).change.reshape(both.shape)
    away = np.abs(change["change_probability"].values[both] - 100 * probability[both])
    assert away.max() < 0.6
    years = run.open("change-years").sel(time="2020").squeeze("time")["classification"].values
    values = np.array([one.value for one in CLASSES])
    of_path = values[path[1]].reshape(both.shape)
    assert (years[both] == of_path[both]).mean() > 0.9999


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    for tile in (192, 512):
        other = mapped(tmp_path, tile, two_workers)
        assert other.table("change-evidence").equals(run.table("change-evidence"))
        for step in ("change", "change-years"):
            first, second = (over(one.open(step), SMALL) for one in (run, other))
            for name in first.data_vars:
                np.testing.assert_array_equal(first[name].values, second[name].values)


KILLED = """
import os, signal, sys
import rsscale as rs
from rsscale.change_passes.temporal import TemporalChangePass

whole, done = TemporalChangePass.run, []

def run(self, block):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(block.key.tile)
    return whole(self, block)

if __name__ == "__main__":
    TemporalChangePass.run = run
    rs.run(sys.argv[1], sys.argv[2], threads=1, device="cpu")
"""


@pytest.mark.extended
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path, run: rs.Run) -> None:
    """Killed after the estimates, amid the change: nothing that has its entry is done again."""
    recipe, out = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text(json.dumps(recipe_of(tmp_path, 384)))
    (tmp_path / "killed.py").write_text(KILLED)
    helpers = Path(__file__).parents[1] / "helpers"
    path = os.pathsep.join([str(helpers), os.environ.get("PYTHONPATH", "")])
    with allowed():
        died = subprocess.run(
            [sys.executable, str(tmp_path / "killed.py"), str(recipe), str(out)],
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False,
        )  # fmt: skip
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        held = {path: path.stat().st_mtime_ns for path in out.glob("ledger/*/*/*.json")}
        steps = {path.parents[1].name for path in held}
        assert {"moved-magnitude", "change-transitions", "change-evidence"} <= steps
        rs.resume(out)
    assert {path: path.stat().st_mtime_ns for path in held} == held
    assert stored(out) == stored(Path(str(run.path)))


def stored(folder: Path) -> dict[str, bytes]:
    """Every stored object of all steps."""
    parts = [*folder.glob("*.zarr"), folder / "tables"]
    files = (path for part in parts for path in part.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.extended
def test_given_transitions_stay_and_evidence_is_estimated(tmp_path: Path, run: rs.Run) -> None:
    other = mapped(tmp_path, 512, transitions="stay")
    assert other.table("change-evidence").equals(run.table("change-evidence"))
    assert "change-transitions" not in other.state["steps"]


@pytest.mark.extended
def test_percents_of_change_are_evidence_too(tmp_path: Path) -> None:
    compared = {"kind": "post-classification", "of": "map", "from": 2019, "to": 2020}
    recipe = recipe_of(tmp_path, 512, of={"map": "map", "evidence": "compared"})
    recipe["steps"]["compared"] = compared
    recipe["steps"].pop("moved")
    with allowed():
        run = rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
    table = run.table("change-evidence").to_pandas()
    assert table["magnitude"].max() <= 100
    np.testing.assert_array_equal(table["magnitude"], table["code"] - 1)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"to": 2022}, None),
        ({"from": 2020, "to": 2022}, "of.evidence is of 2019-2020; expected .*: 2020-2022"),
        ({"of": {"map": "map", "evidence": "map"}}, "of.evidence has the layers classification"),
        (
            {"of": {"map": "map", "evidence": "moved"}, "moved": {"threshold": "otsu"}},
            "of.evidence is 'moved', which is what a threshold told .*: 'moved-magnitude'",
        ),
        ({"of": {"map": "map", "evidence": "mooved-magnitude"}}, "which is no step and no input"),
        ({"of": {"maps": "map", "evidence": "moved-magnitude"}}, "with evidence {map: STEP, evid"),
        (
            {"of": {"map": "map", "a": "moved-magnitude", "b": "moved-magnitude"}},
            "of.b is of 2019-2020, as another is",
        ),
    ],
)
def test_what_is_no_evidence_is_refused(tmp_path: Path, step: dict, message: str | None) -> None:
    with allowed():
        if message is None:
            rs.plan(recipe_of(tmp_path, **step))
            return
        with pytest.raises(RecipeError, match=message):
            rs.plan(recipe_of(tmp_path, **step))


def test_evidence_is_of_one_kind(tmp_path: Path) -> None:
    other = {"kind": "post-classification", "of": "map", "from": 2020, "to": 2022}
    recipe = recipe_of(
        tmp_path, to=2022, of={"map": "map", "first": "moved-magnitude", "second": "other"}
    )
    recipe["steps"]["other"] = other
    with allowed(), pytest.raises(RecipeError, match="has change_probability, and another has mag"):
        rs.plan(recipe)


def test_a_preview_says_what_it_lacks(tmp_path: Path) -> None:
    with allowed(), pytest.raises(RecipeError, match="leave out the evidence"):
        rs.preview(
            recipe_of(tmp_path, transitions="stay"), bbox=[5.96, 44.97, 5.97, 44.98],
            step="change", device="cpu",
        )  # fmt: skip


def test_too_few_magnitudes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    gather = EstimatedEvidence(
        step="change-evidence", of="change-sample", schema=evidence_schema(),
        classes=CLASSES[:2], years=(2019, 2020), matrix=staying(2, 0.9), prior=np.full(2, 0.5),
        with_evidence=True,
    )  # fmt: skip
    columns = {
        "row": [0], "col": [0], "percents": [bytes([60, 40, 30, 70])], "evidence": [bytes([9])],
    }  # fmt: skip
    binary = pa.schema(
        [
            ("row", pa.int64()), ("col", pa.int64()), ("percents", pa.binary(4)),
            ("evidence", pa.binary(1)),
        ]
    )  # fmt: skip
    table = gather.fold([(None, pa.Table.from_pydict(columns, schema=binary))])
    assert table["changed"].to_pylist() == table["unchanged"].to_pylist() == [1, 1]
    assert "not used, as the sample has 1 pixel with a magnitude, and 1,000" in caplog.text
