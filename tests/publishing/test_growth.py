"""A run that was measured and published, and then grows by a period: what still holds, what not."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import pytest
from formula_pass import CLASSES, SMALL, allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError
from rsscale.store.ledger import Ledger
from rsscale.store.run_folder import RunFolder

SETTINGS = {"threads": 1, "device": "cpu"}
LAYERS = {"layers": ["classification"]}


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
        layer = run.open().classification.sel(time="2022").squeeze("time", drop=True)
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
    layer = run.open().classification.sel(time="2022").squeeze("time", drop=True)
    names = {one.value: one.name for one in CLASSES}
    frame["reference"] = [
        names[int(layer.sel(x=point.x, y=point.y, method="nearest"))] for point in frame.geometry
    ]
    frame.to_file(path)


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
