"""The temporal model as a pass: that of the whole maps, however they were cut."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xarray as xr
from formula_pass import CLASSES, LAYERS, SMALL, allowed, formula_recipe, over

import rsscale as rs
from rsscale.change.hidden_markov import Chain, best_path, marginals
from rsscale.change.temporal_layers import change_values
from rsscale.change.transition_sample import FEWEST, estimate
from rsscale.change.transitions import over_years, staying
from rsscale.change_passes.temporal import TemporalChangePass
from rsscale.change_passes.temporal_base import likelihood_of
from rsscale.change_passes.temporal_estimate import estimating_steps
from rsscale.errors import RecipeError
from rsscale.model.map_layers import with_doubt

YEARS = [2019, 2020, 2022]
GIVEN = {
    "sources": {}, "years": (2019, 2020), "classes": CLASSES[:2], "matrix": staying(2, 0.9),
    "prior": np.full(2, 0.5),
}  # fmt: skip
WRITTEN: Any = SimpleNamespace(gathered=lambda _: None)
NAMES = [land_class.name for land_class in CLASSES]
STEP = {
    "kind": "temporal-model", "of": "map", "transitions": "stay", "stay": 0.6,
    "forbidden": [["built", "water"]],
}  # fmt: skip


def recipe_of(folder: Path, tile: int = 384, **step: Any) -> dict[str, Any]:
    return formula_recipe(
        folder,
        tile=tile,
        shape=SMALL,
        periods=YEARS,
        options={"layers": ["classification", "probability"]},
        steps={"change": {k: v for k, v in (STEP | step).items() if v is not None}},
    )


def mapped(folder: Path, tile: int = 384, client: Any = None, **step: Any) -> rs.Run:
    with allowed():
        recipe = recipe_of(folder, tile, **step)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("temporal"))


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    found: xr.Dataset = over(ds, SMALL)
    return found


@pytest.mark.slow
def test_it_is_the_model_of_the_whole_maps(run: rs.Run) -> None:
    probability = run.open()["probability"].transpose("time", "class", "y", "x").values
    seen = probability[:, 0] != 255
    likelihood = np.maximum(probability.astype(np.float32) / 100, np.float32(0.0005))
    likelihood.transpose(0, 2, 3, 1)[~seen] = 1.0
    flat = likelihood.reshape(3, 4, -1)
    year = staying(4, 0.6, [(3, 0)])
    chain = Chain(np.full(4, 0.25), [year, over_years(year, 2)])
    path, found = best_path(flat, chain), marginals(flat, chain, seen.reshape(3, -1))
    change = run.open("change").squeeze("time").load()
    assert set(change.data_vars) == {
        "change", "from", "to", "change_probability", "change_year", "changes",
    }  # fmt: skip
    known = seen.sum(axis=0) > 1
    values = np.array([c.value for c in CLASSES])
    wanted = change_values(path, seen.reshape(3, -1), found.change, CLASSES, YEARS)
    for name, of_pixels in wanted.items():
        layer = change[name].values
        np.testing.assert_array_equal(layer[known], of_pixels.reshape(known.shape)[known], name)
        assert (layer[~known] == (65535 if name == "change_year" else 255)).all()
    assert {0, 1} <= set(np.unique(change["change"]))
    for number, time in enumerate(YEARS):
        one = run.open("change-years").sel(time=str(time)).squeeze("time").load()
        ever = seen.any(axis=0)
        of_path = np.take_along_axis(found.classes[number], path[number][None], axis=0)[0]
        label, confidence = values[path[number]], (of_path * 100).round()
        for name, of_pixels in (("classification", label), ("confidence", confidence)):
            shaped = of_pixels.reshape(ever.shape)
            np.testing.assert_array_equal(one[name].values[ever], shaped[ever])
            assert (one[name].values[~ever] == 255).all()


@pytest.mark.slow
def test_it_says_how_much_changed(run: rs.Run) -> None:
    facts = run.state["steps"]["change"]["facts"]
    change = run.open("change")["change"].load()
    assert facts["compared"] == int((change != 255).sum())
    assert facts["changed"] == int((change == 1).sum()) > 0


@pytest.mark.extended
def test_the_sample_is_as_dense_as_the_step_says(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    percents = run.open()["probability"].transpose("time", "class", "y", "x").load()
    rows, cols = ((v.values // 10).round().astype(int) for v in (-percents.y, percents.x))
    dense = percents.values[:, 0, rows % 4 == 0][..., cols % 4 == 0]
    wanted = int(((dense != 255).sum(axis=0) > 1).sum())
    done = [
        mapped(tmp_path / str(tile), tile, client, transitions="estimate", sample_every=4)
        for tile, client in ((192, None), (512, two_workers))
    ]
    for made in done:
        assert made.state["steps"]["change-sample"]["facts"]["sampled"] == wanted
    first, second = (made.table("change-transitions") for made in done)
    assert first.equals(second)


@pytest.mark.extended
def test_transitions_are_estimated_from_a_sample_of_all_tiles(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    """By the place of pixels on the grid: the same matrix, and map, however the area was cut."""
    runs = [
        mapped(tmp_path / str(tile), tile, client, transitions="estimate")
        for tile, client in ((192, None), (512, two_workers))
    ]
    first, second = (done.table("change-transitions") for done in runs)
    assert first.equals(second)
    found = first["probability"].to_numpy().reshape(4, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    percents = run.open()["probability"].transpose("time", "class", "y", "x").load()
    rows, cols = ((v.values // 10).round().astype(int) for v in (-percents.y, percents.x))
    sample = percents.values[:, :, rows % 8 == 0][..., cols % 8 == 0].reshape(3, 4, -1)
    sample = sample[..., (sample[:, 0] != 255).sum(axis=0) > 1]
    assert sample.shape[2] > FEWEST
    likelihood, _ = likelihood_of(sample, np.full(4, 0.25))
    begin = staying(4, 0.6, [(3, 0)])
    wanted, counts = estimate(likelihood, YEARS, begin)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(first["count"].to_numpy().reshape(4, 4), counts, rtol=1e-4)
    assert counts.sum() == pytest.approx(3 * sample.shape[2], rel=1e-3)  # of years, and not times
    assert np.abs(found - begin).max() > 0.05
    assert found[3, 0] == 0
    maps = [over_the_area(done.open("change")) for done in runs]
    for name in maps[0].data_vars:
        np.testing.assert_array_equal(maps[0][name].values, maps[1][name].values)
    given = {
        of: {to: float(found[i, j]) for j, to in enumerate(NAMES)} for i, of in enumerate(NAMES)
    }
    recipe = {"transitions": given, "stay": None, "forbidden": None}
    other = over_the_area(mapped(tmp_path / "given", 256, **recipe).open("change"))
    for name in other.data_vars:
        np.testing.assert_array_equal(maps[0][name].values, other[name].values)


def test_of_a_small_sample_the_beginning_is_kept() -> None:
    begin = staying(3, 0.9)
    few = np.ones((2, 3, FEWEST - 1), np.float32)
    matrix, counts = estimate(few, [2020, 2021], begin)
    assert matrix is begin
    # Nothing is seen: what happens is what the beginning says.
    np.testing.assert_allclose(counts, begin * (FEWEST - 1) / 3, rtol=1e-5)


def test_too_small_a_sample_is_told(caplog: pytest.LogCaptureFixture) -> None:
    sample, transitions = (step for step in estimating_steps("change", dict(GIVEN), WRITTEN))
    (line,) = sample.describe({"sampled": 999.0})
    assert "not estimated, as the sample has 999 pixels that two years" in line
    assert sample.describe({"sampled": 300_000.0}) == [
        "sample    transitions are estimated from 200,000 pixels"
    ]
    columns = {"row": [0], "col": [0], "percents": [bytes([60, 40, 30, 70])]}
    table = transitions.fold([(None, pa.Table.from_pydict(columns, schema=sample.schema))])
    assert table["probability"].to_pylist() == pytest.approx([0.9, 0.1, 0.1, 0.9])
    assert sum(table["count"].to_pylist()) == pytest.approx(1)
    assert "1 pixel that" in caplog.text


def test_a_preview_says_what_it_lacks(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, transitions="estimate")
    with allowed(), pytest.raises(RecipeError, match="made of all tiles, and a preview has a box"):
        rs.preview(recipe, bbox=[5.96, 44.97, 5.97, 44.98], step="change", device="cpu")


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    wanted = {step: over_the_area(run.open(step)) for step in ("change", "change-years")}
    for tile in (192, 512):
        other = mapped(tmp_path, tile, two_workers)
        for step, first in wanted.items():
            second = over_the_area(other.open(step))
            for name in first.data_vars:
                np.testing.assert_array_equal(first[name].values, second[name].values)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"from": 2020, "to": 2019}, r"from 2020 to 2019 there are the years \[\]"),
        ({"from": 2020, "to": 2020}, "a change needs two or more"),
        ({"to": 2021}, r"to is 2021, and the step is of \[2019, 2020, 2022\]"),
        ({"forbidden": [["built", "watr"]]}, "'watr', which is no class.*did you mean 'water'"),
        ({"transitions": {"built": {"built": 1}}}, "'stay' or 'forbidden' beside it"),
        ({"stay": 1.0}, "stay: input should be less than 1"),
        ({"prior": {"water": 1}}, "prior gives 'open forest' nothing"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    with allowed(), pytest.raises(RecipeError, match=message):
        rs.plan(recipe_of(tmp_path, **step))


def test_probabilities_are_needed(tmp_path: Path) -> None:
    recipe = formula_recipe(
        tmp_path, tile=384, periods=YEARS, options={"layers": ["classification"]},
        steps={"change": STEP},
    )  # fmt: skip
    with allowed(), pytest.raises(RecipeError, match="add probability to output"):
        rs.plan(recipe)


def test_a_map_that_is_not_calibrated_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with allowed():
        rs.plan(recipe_of(tmp_path))
        assert "calibrated" not in caplog.text
        (doubted,) = with_doubt((LAYERS["probability"],))
        monkeypatch.setitem(LAYERS, "probability", doubted)
        rs.plan(recipe_of(tmp_path))
    assert caplog.text.count("are not known to be calibrated") == 1
    made = TemporalChangePass(
        step="change", layers=(), is_calibrated=False, **{**GIVEN, "sources": {}}
    )
    first, second = made.describe({"compared": 100, "changed": 3})
    assert first.startswith("doubt     the probabilities of the map's model are not known")
    assert second == "changed   3.00% of the pixels that two years or more have"
