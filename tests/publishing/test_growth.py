"""A run that was measured and published, and then grows by a period: what still holds, what not."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import rasterio
from formula_pass import CLASSES, SMALL, allowed, formula_recipe
from known_objects import KIND as PONDS
from known_objects import allowed as known_allowed

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError
from rsscale.store.ledger import Ledger
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import span_versions, step_version

SETTINGS = {"threads": 1, "device": "cpu"}
LAYERS = {"layers": ["classification"]}
# The area of a run that grows, with a tile to the west.
LARGER = (*SMALL, (726_500, 4_982_500))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Measured and published of 2022; then 2023 is mapped too."""
    folder = tmp_path_factory.mktemp("grown")
    with allowed():
        first = formula_recipe(folder, tile=512, shape=SMALL, periods=[2022], options=LAYERS)
        run = rs.run(first, folder / "run", **SETTINGS)
        rs.design_sample(run, folder / "sample.gpkg", design="simple", strata=[], size=60)
        interpret(run, folder / "sample.gpkg")
        rs.assess_sample(run, folder / "sample.gpkg")
        layer = run.open().classification.sel(time="2022").squeeze("time", drop=True).load()
        layer.rs.to_cog(folder / "truth.tif")
        rs.assess(run, folder / "truth.tif", distance=0, block=1000)
        rs.check_quality(run)
        rs.publish(run, folder / "product", cogs="none")
        both = formula_recipe(folder, tile=512, shape=SMALL, periods=[2022, 2023], options=LAYERS)
        rs.run(both, folder / "run", **SETTINGS)
        yield folder


def interpret(run: rs.Run, path: Path) -> None:
    """Write the class of the map into the sample, as an interpreter who agrees with it."""
    frame = gpd.read_file(path)
    layer = run.open().classification.sel(time="2022").squeeze("time", drop=True).load()
    names = {one.value: one.name for one in CLASSES}
    frame["reference"] = [
        names[int(layer.sel(x=point.x, y=point.y, method="nearest"))] for point in frame.geometry
    ]
    frame.to_file(path)


@pytest.mark.extended
def test_only_the_gates_are_to_be_checked_again(grown: Path, tmp_path: Path) -> None:
    run = shutil.copytree(grown / "run", tmp_path / "run")
    with allowed():
        with pytest.raises(RunFolderError, match=r"'outdated': gates\.json is of another version"):
            rs.publish(run, tmp_path / "product")
        gates = rs.check_quality(run)
        assert gates.failed == ("class-shares",)  # the formula's, from a year to the other
        rs.publish(run, tmp_path / "product", cogs="none", override=gates.failed)
    found = json.loads((tmp_path / "product" / "collection.json").read_text())
    assert [one["name"] for one in found["rsscale:gates_overridden"]] == ["class-shares"]
    assert len([link for link in found["links"] if link["rel"] == "item"]) == 2


@pytest.mark.extended
def test_a_sample_of_a_period_that_did_not_change_is_taken_and_added_to(
    grown: Path, tmp_path: Path
) -> None:
    with allowed():
        for name in ("sample.gpkg", "sample.gpkg.design.json"):
            shutil.copy(grown / name, tmp_path / name)
        found = rs.assess_sample(
            shutil.copytree(grown / "run", tmp_path / "run"), tmp_path / "sample.gpkg"
        )
        assert list(found.periods) == ["2022"]
        assert not any("another version" in note for note in found.notes)
        more = rs.design_sample(
            tmp_path / "run", tmp_path / "more.gpkg", add_to=tmp_path / "sample.gpkg", size=10
        )
    assert more.size == 70


def test_figures_of_pixels_that_changed_are_published_by_name_only(
    grown: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(grown / "run", tmp_path / "run")
    ledger = Ledger(RunFolder.at(run).storage)
    entry = next(one for one in ledger.entries("map") if one.key.span == "2022")
    path = run / "ledger" / "map" / "2022" / f"{entry.key.tile}.json"
    path.write_text(path.read_text().replace(next(iter(entry.digests.values())), "0" * 64))
    with allowed():
        for name, said in (
            ("outdated", "gates.json is of another version of map"),
            ("outdated-areas", "areas.json is of another version of map.*--sample FILE"),
            ("outdated-accuracy", "accuracy.json is of another version of map.*--reference FILE"),
        ):
            others = {"outdated", "outdated-areas", "outdated-accuracy"} - {name}
            with pytest.raises(RunFolderError, match=f"{name!r}: {said}.*--override {name}"):
                rs.publish(run, tmp_path / "product", override=sorted(others))
        with pytest.raises(RecipeError, match=r"drawn from the version .*--map-changed"):
            rs.assess_sample(run, grown / "sample.gpkg")


@pytest.fixture(scope="module")
def measured_and_published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is measured of a run of one year, and its publication; then the run grows by ground,
    a year and a step of change."""
    folder = tmp_path_factory.mktemp("twice")
    run = folder / "run"
    steps = {"ponds": {"kind": PONDS, "every": 24}, "sheds": {"kind": PONDS, "every": 48}}
    with known_allowed("formula_pass"):
        first = formula_recipe(
            folder, tile=512, shape=SMALL, periods=[2022], options=LAYERS, steps=steps
        )
        rs.run(first, run, **SETTINGS)
        measure(run, folder / "before")
        rs.publish(run, folder / "product")
        (folder / "area.gpkg").unlink()
        change = {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023}
        more = formula_recipe(
            folder, tile=512, shape=LARGER, periods=[2022, 2023], options=LAYERS,
            steps={**steps, "change": change},
        )  # fmt: skip
        rs.run(more, run, **SETTINGS)
    return folder


def measure(run: Path, folder: Path) -> None:
    """All that can be measured, and the report of it."""
    folder.mkdir()
    sample = folder / "sample.gpkg"
    rs.design_sample(run, sample, periods=[2022], design="simple", strata=[], size=60)
    interpret(rs.Run(run), sample)
    rs.assess_sample(run, sample)
    for step in ("ponds", "sheds"):
        truth = folder / f"{step}.gpkg"
        rs.read_objects(run, step, span=2022)[["name", "geometry"]].to_file(truth)
        rs.assess_objects(run, truth, step=step, span=2022, resamples=10)
    rs.check_quality(run)
    rs.report(run)


@pytest.mark.extended
def test_a_publication_of_a_run_that_grew_is_that_of_the_grown_run(
    measured_and_published: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(measured_and_published, tmp_path / "grown")
    run, product = folder / "run", folder / "product"
    before = json.loads((product / "collection.json").read_text())
    others = {"outdated", "outdated-areas", "outdated-accuracy", "outdated-report"}
    with known_allowed("formula_pass"):
        for name, said in (
            ("outdated", r"gates\.json is of another version of map"),
            ("outdated-areas", r"areas\.json is of another version of map"),
            ("outdated-accuracy", r"objects-accuracy\.json has scores of sheds 2022"),
            ("outdated-report", r"report\.html was written before .*rsscale report"),
        ):
            with pytest.raises(RunFolderError, match=f"{name!r}: {said}"):
                rs.publish(run, product, override=sorted(others - {name}))
        assert json.loads((product / "collection.json").read_text()) == before  # still whole
        measure(run, folder / "after")
        rs.publish(run, product, override=["class-shares"])  # the formula's, between years
        rs.publish(run, folder / "anew", override=["class-shares"])
    assert digests(product) == digests(folder / "anew")
    after = json.loads((product / "collection.json").read_text())
    assert after["extent"]["temporal"]["interval"][0][1].startswith("2023-12-31")
    west = [one["extent"]["spatial"]["bbox"][0][0] for one in (before, after)]
    assert west[1] < west[0]
    assert {path.stem for path in (product / "items").iterdir()} == {
        "formula-2022", "formula-2023", "formula-2022-2023",
    }  # fmt: skip
    areas = json.loads((product / "areas.json").read_text())
    total = sum(one["mapped_hectares"] for one in areas["periods"]["2022"]["classes"])
    with rasterio.open(product / "cogs/classification_2022.tif") as file:
        mapped = (file.read(1) != file.nodata).sum() * 0.01  # pixels of 10 m, hectares of the grid
    assert total == pytest.approx(mapped, rel=2e-3)
    again = rs.publish(run, product, override=["class-shares"])
    assert (again.written, again.removed) == (0, 0)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.extended
def test_of_steps_that_are_left_out_no_score_is_left(object_run: Path, tmp_path: Path) -> None:
    run, product = shutil.copytree(object_run, tmp_path / "run"), tmp_path / "product"
    with known_allowed("formula_pass"):
        for step in ("ponds", "once"):
            truth = tmp_path / f"{step}.gpkg"
            rs.read_objects(run, step, span=2023)[["name", "geometry"]].to_file(truth)
            rs.assess_objects(run, truth, step=step, span=2023, resamples=10)
    rs.publish(run, product, steps=["ponds", "once"])
    assert list(scores_in(product)) == ["ponds", "once"]
    rs.publish(run, product, steps=["ponds"])
    assert list(scores_in(product)) == ["ponds"]
    assert "once" not in (product / "README.md").read_text().split()
    rs.publish(run, product, steps=["map"], cogs="none")
    assert not (product / "objects-accuracy.json").exists()
    assert "objects-accuracy.json" not in (product / "collection.json").read_text()
    assert set(scores_in(run)) == {"ponds", "once"}


def scores_in(product: Path) -> dict[str, Any]:
    """Of steps, as they are published."""
    steps: dict[str, Any] = json.loads((product / "objects-accuracy.json").read_text())["steps"]
    return steps


def test_scores_of_objects_that_are_others_now_are_published_by_name_only(
    object_run: Path, tmp_path: Path
) -> None:
    run, product = shutil.copytree(object_run, tmp_path / "run"), tmp_path / "product"
    folder = RunFolder.at(run)
    of_now = {
        step: {span: {"version": step_version(folder, step), "versions": {span: version}}}
        for step in ("ponds", "once")
        for span, version in [*span_versions(folder, step).items()][:1]
    }
    scores = run / "objects-accuracy.json"
    # Nobody's run, but for its own scores: one lost an object in 2023, one is of a span that is not
    # there; a step that the run does not have is published by nobody.
    for changes, said in (
        ({"ponds": {"2023": {"version": "0" * 16}}}, "ponds 2023"),
        ({"ponds": {"2023": {**of_now["ponds"]["2023"], "versions": {"2023": "0"}}}}, "ponds 2023"),
        ({"once": {"1999": {"version": "0", "versions": {"1999": "0"}}}}, "once 1999"),
    ):
        scores.write_text(json.dumps({"format": 1, "steps": {**of_now, **changes}}))
        with pytest.raises(
            RunFolderError, match=rf"scores of {said} of another .*--objects.*--override outdated-a"
        ):
            rs.publish(run, product, steps=["ponds", "once"])
        assert not product.exists()
    for steps in ([], {"ponds": []}, {"ponds": {"2023": 0.9}}, None):
        scores.write_text(json.dumps({"format": 1, "steps": steps}))
        with pytest.raises(RunFolderError, match=r"no scores by step and span; measure again with"):
            rs.publish(run, product, steps=["ponds"])
    gone = {"format": 1, "steps": {"gone": {"2023": {"version": "0" * 16}}}}
    scores.write_text(json.dumps(gone))
    rs.publish(run, product, steps=["ponds"])
    assert not (product / "objects-accuracy.json").exists()
