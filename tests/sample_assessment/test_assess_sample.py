"""A run measured by a sample: what is written, what is read, what is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from formula_pass import CLASSES, allowed

import rsscale as rs
from rsscale.cli import main
from rsscale.errors import RecipeError, RunFolderError
from rsscale.estimation.sample_table import PROBABILITY
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.plans.plan import RunPlan
from rsscale.sample_assessment.mapped_classes import ClassLayer
from rsscale.store.ledger import Ledger
from rsscale.store.step_version import step_version
from rsscale.store.zarr_store import ZarrStore
from rsscale.viewer.areas import legend_areas
from rsscale.viewer.layer_entries import layer_entries

NAMES = {one.value: one.name for one in CLASSES}


@pytest.fixture(autouse=True)
def is_allowed() -> Iterator[None]:
    with allowed():
        yield


@pytest.fixture(scope="module")
def maps(run: rs.Run) -> np.ndarray:
    return run.open().classification.to_numpy()


def write(run: rs.Run, maps: np.ndarray, path: Path, **changes: Any) -> Path:
    """A stratified sample of the last map, interpreted with some errors, and its record."""
    rng = np.random.default_rng(5)
    layer = run.open().classification
    rows, strata = [], []
    for one in CLASSES:
        places = np.argwhere(maps[-1] == one.value)
        chosen = places[rng.choice(len(places), 60, replace=False)]
        rows += [(*place, one.value, 60 / len(places)) for place in chosen.tolist()]
        strata.append(
            {"value": one.value, "name": one.name, "pixels": len(places),
             "hectares": len(places) * 0.01, "drawn": 60}
        )  # fmt: skip
    row, col, stratum, probability = map(np.array, zip(*rows, strict=True))
    truth = np.where(rng.random((2, len(row))) < 0.9, maps[:, row, col], CLASSES[0].value)
    frame = gpd.GeoDataFrame(
        {
            "id": np.arange(1, len(row) + 1),
            "stratum": stratum,
            "stratum_name": [NAMES[value] for value in stratum],
            PROBABILITY: probability,
            "reference": [NAMES.get(value, "") for value in truth[1]],
        },
        geometry=gpd.points_from_xy(layer.x.to_numpy()[col], layer.y.to_numpy()[row]),
        crs="EPSG:32631",
    )
    if changes.get("two"):
        frame["reference_2022"] = [NAMES.get(value, "") for value in truth[0]]
        frame = frame.rename(columns={"reference": "reference_2023"})
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, layer="sample")
    record = {
        "format": 1, "design": "stratified", "seed": 5, "run": "formula", "step": "map",
        "layer": "classification", "span": "2023", "version": step_version(run.folder, "map"),
        "strata": strata, "clusters": None, "periods": [2023],
    }  # fmt: skip
    record |= changes.get("record", {})
    Path(f"{path}.design.json").write_text(json.dumps(record))
    return path


@pytest.fixture(scope="module")
def sample(run: rs.Run, maps: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with allowed():
        return write(run, maps, tmp_path_factory.mktemp("file") / "sample.gpkg")


def edited(sample: Path, path: Path, **columns: Any) -> Path:
    """A copy of the sample with other columns, and the record beside it."""
    frame = gpd.read_file(sample).assign(**columns)
    frame.to_file(path, layer="sample")
    shutil.copy(f"{sample}.design.json", f"{path}.design.json")
    return path


def test_files_of_a_sample(run: rs.Run, maps: np.ndarray, sample: Path) -> None:
    found = rs.assess_sample(run, sample)
    areas = json.loads((run.path / "areas.json").read_text())
    assert areas["format"] == 1
    assert areas["version"] == step_version(run.folder, "map")
    assert areas["design"] == "stratified"
    assert areas["sample"]["units"] == areas["sample"]["used"] == len(gpd.read_file(sample))
    assert set(areas["periods"]) == {"2023"}
    classes = areas["periods"]["2023"]["classes"]
    frame = gpd.read_file(sample)
    for one, land_class in zip(classes, CLASSES, strict=True):
        assert (one["value"], one["name"]) == (land_class.value, land_class.name)
        pixels = int((maps[-1] == land_class.value).sum())
        assert one["mapped_hectares"] == pytest.approx(pixels * 0.01, rel=2e-3)
        # The stratified mean, written out.
        strata = [
            (frame.stratum == other.value, int((maps[-1] == other.value).sum()))
            for other in CLASSES
        ]
        hectares = sum(
            0.01 * size * (frame.reference[inside] == land_class.name).mean()
            for inside, size in strata
        )
        assert one["hectares"]["value"] == pytest.approx(hectares, rel=1e-4)
    table = pd.read_parquet(run.path / "areas.parquet")
    text = pd.read_csv(run.path / "areas.csv")
    assert list(table.columns) == list(text.columns)
    assert len(table) == len(text) == 1 + 4 * len(CLASSES)
    points = gpd.read_file(run.path / "sample.geojson")
    assert points.crs == "EPSG:4326"
    assert set(points.columns) >= {"id", "map", "reference", "agrees", "stratum", "period"}
    assert (points["map"] == points["stratum"]).all()
    assert points["agrees"].sum() == np.trace(found["2023"].counts[: len(CLASSES)])


def test_two_periods_give_the_transition_matrix(
    run: rs.Run, maps: np.ndarray, tmp_path: Path
) -> None:
    path = write(run, maps, tmp_path / "two.parquet", two=True)
    found = rs.assess_sample(run, path)
    assert list(found.periods) == ["2022", "2023"]
    change = found.change["2022-2023"]
    frame = gpd.read_parquet(path)
    both = (frame.reference_2022 != "") & (frame.reference_2023 != "")
    assert sum(one.units for one in change.transitions) == both.sum()
    moved = sum(one.hectares.value for one in change.transitions if one.before != one.after)
    assert change.changed.value == pytest.approx(moved)
    content = json.loads((run.path / "areas.json").read_text())["change"]["2022-2023"]
    assert {"from", "to", "hectares", "units"} <= set(content["transitions"][0])
    only = rs.assess_sample(run, path, period=2022)
    assert list(only.periods) == ["2022"]


def change_sample(run: rs.Run, maps: np.ndarray, path: Path) -> Path:
    """A sample that is stratified by the change layer, its hectares as the map's are counted."""
    rng = np.random.default_rng(6)
    change = run.open("change")["change"][0].to_numpy()
    x, y = run.open().x.to_numpy(), run.open().y.to_numpy()
    left, top = round((x[0] - 5) / 10), round(-(y[0] + 5) / 10)
    box = PixelBox(top, left, top + change.shape[0], left + change.shape[1])
    areas = np.broadcast_to(pixel_areas(Grid("EPSG:32631", 10.0), box), change.shape) / 1e4
    parts, strata = [], []
    for value, name in ((0, "unchanged"), (1, "changed")):
        places = np.argwhere(change == value)
        parts.append(places[rng.choice(len(places), 80, replace=False)])
        hectares = float(areas[change == value].sum())
        strata.append(
            {"value": value + 1, "name": name, "pixels": len(places), "hectares": hectares}
        )
    row, col = np.concatenate(parts).T
    stratum = np.repeat([1, 2], 80)
    names = np.vectorize(NAMES.get)(maps[:, row, col])
    wrong = rng.random(160) < 0.05
    gpd.GeoDataFrame(
        {
            "id": np.arange(160),
            "stratum": stratum,
            PROBABILITY: 80 / np.array([s["pixels"] for s in strata])[stratum - 1],
            "reference_2022": names[0],
            "reference_2023": np.where(wrong, names[0], names[1]),
        },
        geometry=gpd.points_from_xy(x[col], y[row]),
        crs="EPSG:32631",
    ).to_file(path, layer="sample")
    record = {
        "format": 1, "design": "stratified", "step": "change", "layer": "to",
        "span": "2022-2023", "version": step_version(run.folder, "change"), "strata": strata,
        "clusters": None, "periods": [2022, 2023],
    }  # fmt: skip
    Path(f"{path}.design.json").write_text(json.dumps(record))
    return path


def test_a_sample_of_change_takes_the_maps_and_hectares_of_the_change_step(
    run: rs.Run, maps: np.ndarray, tmp_path: Path
) -> None:
    found = rs.assess_sample(run, change_sample(run, maps, tmp_path / "change.gpkg"))
    assert list(found.periods) == ["2022", "2023"]
    assert found["2022"].overall.value == 1.0  # `from` of the step is the map, which was copied
    change = found.change["2022-2023"]
    mapped = (maps[0] != maps[1]) & (maps != 255).all(axis=0)
    assert change.mapped_hectares == pytest.approx(mapped.sum() / 100, rel=2e-3)
    assert change.producers.value == 1.0
    assert 0.8 < change.users.value < 1
    right = change.users.value * change.mapped_hectares
    assert change.changed.value == pytest.approx(right, rel=1e-6)
    sizes = [one.hectares.value for one in found["2023"].classes]
    assert sum(sizes) == pytest.approx(sum(one.mapped_hectares for one in found["2023"].classes))
    # Strata are not the classes, whose hectares are counted: that helps.
    assert found["2023"].estimator.startswith("model-assisted")


def test_areas_of_change_stand_at_each_layer_that_they_are_of(
    run: rs.Run, maps: np.ndarray, tmp_path: Path
) -> None:
    found = rs.assess_sample(run, change_sample(run, maps, tmp_path / "change.gpkg"))
    folder = run.folder
    shown = legend_areas(folder, layer_entries(folder.storage, folder.read_state()))
    assert list(shown) == ["map/classification", "change/from", "change/to", "change/change"]
    for period, of_step in (("2022", "change/from"), ("2023", "change/to")):
        at_change, at_map = shown[of_step]["2022-2023"], shown["map/classification"][period]
        for figures in found[period].classes:
            key = str(figures.land_class.value)
            assert at_change[key]["value"] == pytest.approx(figures.hectares.value)
            assert at_change[key]["mapped"] == pytest.approx(figures.mapped_hectares)
            # The ground is the same; what is mapped is not this map's.
            assert at_map[key] == at_change[key] | {"mapped": None}
    changed = found.change["2022-2023"].changed
    at_layer = shown["change/change"]["2022-2023"]["1"]
    assert (at_layer["low"], at_layer["high"]) == pytest.approx((changed.low, changed.high))


def test_land_that_was_not_sampled_is_told(run: rs.Run, maps: np.ndarray, tmp_path: Path) -> None:
    record = {"unmapped_hectares": 2000.0, "left_out_hectares": 0.0}
    found = rs.assess_sample(run, write(run, maps, tmp_path / "sample.gpkg", record=record))
    (line,) = [note for note in found.notes if "had no class" in note]
    sampled = sum(figures.hectares.value for figures in found["2023"].classes)
    share = 2000 / (2000 + sampled)
    assert line.startswith(
        f"2,000 of the area's {2000 + sampled:,.0f} ha ({share:.1%}) had no class"
    )
    assert line in str(found)
    assert json.loads((run.path / "areas.json").read_text())["sample"]["not_sampled"] == [line]


def test_regions_add_up_and_know_their_size(run: rs.Run, sample: Path, tmp_path: Path) -> None:
    west, south, east, north = gpd.read_file(sample).buffer(9e4).total_bounds
    middle = gpd.read_file(sample).geometry.x.median() + 3.0
    halves = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
    path = tmp_path / "regions.gpkg"
    gpd.GeoDataFrame({"name": ["w", "e"]}, geometry=halves, crs="EPSG:32631").to_file(path)
    found = rs.assess_sample(run, sample, regions=path, region_id="name")
    for name in ("w", "e"):
        figures = found.regions[name]["2023"]
        sizes = [one.hectares.value or 0.0 for one in figures.classes]
        assert sum(sizes) == pytest.approx(sum(one.mapped_hectares for one in figures.classes))
    whole = [one.mapped_hectares for one in found["2023"].classes]
    parts = [[one.mapped_hectares for one in found.regions[n]["2023"].classes] for n in "we"]
    assert np.allclose(np.sum(parts, axis=0), whole)
    assert json.loads((run.path / "areas.json").read_text())["regions"]["w"]["period"] == "2023"
    overlapping = tmp_path / "overlapping.gpkg"
    halves[1] = shapely.box(middle - 2000, south, east, north)
    gpd.GeoDataFrame({"name": ["w", "e"]}, geometry=halves, crs="EPSG:32631").to_file(overlapping)
    with pytest.raises(RecipeError, match=r"regions 'w' and 'e' of overlapping\.gpkg overlap"):
        rs.assess_sample(run, sample, regions=overlapping, region_id="name")
    with pytest.raises(RecipeError, match="--region-id"):
        rs.assess_sample(run, sample, regions=path)
    with pytest.raises(RecipeError, match="--region-id is of the regions' file, and none is given"):
        rs.assess_sample(run, sample, region_id="name")


def test_a_second_interpreter_and_no_record(run: rs.Run, sample: Path, tmp_path: Path) -> None:
    frame = gpd.read_file(sample)
    second = frame["reference"].where(frame["id"] % 10 > 0, CLASSES[1].name)
    path = edited(sample, tmp_path / "second.gpkg", reference_2=second)
    found = rs.assess_sample(run, path)
    assert found.interpreters.agreement.value == pytest.approx((second == frame.reference).mean())
    Path(f"{path}.design.json").unlink()
    columns = rs.assess_sample(run, path)
    assert columns.design == "stratified"
    assert any("no design record" in note for note in columns.notes)
    for one, other in zip(columns["2023"].classes, found["2023"].classes, strict=True):
        assert one.hectares.value == pytest.approx(other.hectares.value, rel=1e-3)


def test_another_version_of_the_map_is_refused_unless_said(
    run: rs.Run, maps: np.ndarray, tmp_path: Path
) -> None:
    path = write(run, maps, tmp_path / "old.gpkg", record={"version": "0123456789abcdef"})
    with pytest.raises(RecipeError, match=r"version 0123456789abcdef of 'map'.*--map-changed"):
        rs.assess_sample(run, path)
    found = rs.assess_sample(run, path, map_changed=True)
    assert any("another version" in note for note in found.notes)


def test_a_map_without_any_class_is_refused(
    run: rs.Run, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = edited(sample, tmp_path / "blank.gpkg")
    Path(f"{path}.design.json").unlink()  # with it the hectares are those of the design
    monkeypatch.setattr(
        ClassLayer, "hectares", lambda self, *_: np.array([[*[0.0] * self.count, 9.0]])
    )
    with pytest.raises(RecipeError, match="map of 2023 has no pixel with a class"):
        rs.assess_sample(run, path)


def test_no_probability_sample_is_refused_with_what_it_tells(
    run: rs.Run, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "found.gpkg"
    frame = gpd.read_file(sample)
    frame[["id", "reference", "geometry"]].to_file(path)
    with pytest.raises(RecipeError, match=r"is no probability sample.*\d of 2\d\d \(0\.\d+\)"):
        rs.assess_sample(run, path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"reference": "moon"}, r"'moon' \(240 units, such as 1\), no class of the map"),
        ({"reference": 1.5}, "'1.5'"),
        ({"reference": ""}, "none of the 240 units is interpreted"),
        ({"id": 7}, "1 id is there more than once, such as 7"),
        ({PROBABILITY: 0.0}, "240 units have no inclusion_probability above 0"),
        ({"stratum": 77}, "240 units lie in strata that the design does not have"),
        ({"stratum": 1}, "strata have no interpreted unit"),
    ],
)
def test_bad_samples(
    run: rs.Run, sample: Path, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    path = edited(sample, tmp_path / "bad.gpkg", **columns)
    with pytest.raises(RecipeError, match=message) as refused:
        rs.assess_sample(run, path)
    assert "\n" not in str(refused.value)


def test_points_elsewhere_and_no_points(run: rs.Run, sample: Path, tmp_path: Path) -> None:
    frame = gpd.read_file(sample)
    path = edited(sample, tmp_path / "far.gpkg", geometry=frame.geometry.translate(1e5))
    with pytest.raises(RecipeError, match="240 of 240 units lie outside of the map, such as 1, 2"):
        rs.assess_sample(run, path)
    same = [frame.geometry.iloc[1], *frame.geometry.iloc[1:]]
    path = edited(sample, tmp_path / "twice.gpkg", geometry=same)
    with pytest.raises(RecipeError, match="1 pixel is there more than once, such as"):
        rs.assess_sample(run, path)
    path = edited(sample, tmp_path / "boxes.gpkg", geometry=frame.geometry.buffer(5))
    with pytest.raises(RecipeError, match=r"240 units of the sample boxes\.gpkg can't be used"):
        rs.assess_sample(run, path)
    with pytest.raises(RecipeError, match="there is no sample at"):
        rs.assess_sample(run, tmp_path / "none.gpkg")


def test_strata_that_do_not_cover_the_map(
    run: rs.Run, maps: np.ndarray, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "part.gpkg"
    gpd.read_file(sample)[:120].to_file(path)
    with pytest.raises(RecipeError, match=r"the units stand for .* do not cover the map"):
        rs.assess_sample(run, path)
    record = json.loads(Path(f"{sample}.design.json").read_text())
    first, *others = record["strata"]
    more = first | {"name": "wet", "hectares": first["hectares"] / 2}
    path = write(run, maps, tmp_path / "less.gpkg", record={"strata": [more, *others]})
    found = rs.assess_sample(run, path)
    assert any("areas are those of the strata" in note for note in found.notes)


def test_columns_of_other_periods(run: rs.Run, sample: Path, tmp_path: Path) -> None:
    frame = gpd.read_file(sample)
    path = edited(sample, tmp_path / "later.gpkg", reference_2031=frame["reference"])
    with pytest.raises(RecipeError, match=r"references of \['2031'\]; the run has maps of"):
        rs.assess_sample(run, path)
    with pytest.raises(RecipeError, match="the run has no map of 2031"):
        rs.assess_sample(run, sample, period=2031)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "expected an object"),
        ('{"format": 9}', "has the format 9"),
        ('{"format": 1, "design": "lottery"}', "damaged: design"),
    ],
)
def test_damaged_records(
    run: rs.Run, sample: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = edited(sample, tmp_path / "damaged.gpkg")
    Path(f"{path}.design.json").write_text(text)
    with pytest.raises(RecipeError, match=message):
        rs.assess_sample(run, path)


def test_a_run_that_is_not_done(run: rs.Run, sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    state = json.loads((folder / "run.json").read_text())
    state["steps"]["map"]["tiles"]["done"] -= 1
    (folder / "run.json").write_text(json.dumps(state))
    with pytest.raises(RunFolderError, match=r"tiles of 'map' in .* are done; a sample tells of"):
        rs.assess_sample(folder, sample)
    with pytest.raises(RunFolderError, match="has no step 'mapp'"):
        rs.assess_sample(run, sample, step="mapp")
    assert Ledger(run.folder.storage).count()


def test_units_read_only_the_chunks_that_hold_them(run: rs.Run, maps: np.ndarray) -> None:
    plan = RunPlan.read(run.folder)
    read = []

    class Counting(ZarrStore):
        def read(self, name: str, span: str, box: PixelBox) -> Any:
            read.append(box.shape)
            return super().read(name, span, box)

    store = plan.setup.store(plan.step("map"))
    counting = Counting(**{f.name: getattr(store, f.name) for f in fields(store)})
    layer = ClassLayer.of(counting, "classification", "2023", [one.value for one in CLASSES])
    row, col = np.array([3, 700, 3, 900]), np.array([5, 800, 9, 20])
    found = layer.at(row + plan.extent.row0, col + plan.extent.col0)
    assert found.tolist() == layer.positions[maps[-1][row, col]].tolist()
    assert sorted(read) == [(1, 1), (1, 1), (1, 5)]


def test_the_command(run: rs.Run, sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", "assess", str(run.path), "--sample", str(sample)])
    assert ended.value.code == 0
    assert "overall accuracy" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", "assess", str(run.path)])
    assert ended.value.code == 2
    assert "give one of --sample" in capsys.readouterr().err
