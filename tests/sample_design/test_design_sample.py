"""A sample of a run: the same however it is cut, its file and design, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from formula_pass import CLASSES, allowed, formula_recipe, values

import rsscale as rs
from rsscale.cli.application import _invoke
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, RunFolderError
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.plans.plan import RunPlan
from rsscale.sample_design.chips import write_chips
from rsscale.sample_design.sample_file import record_path
from rsscale.steps.base import Resources

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
YEARS = (2020, 2022)
NAMES = {c.value: c.name for c in CLASSES}
REGIONS = {
    "west": shapely.box(729_000, 4_979_000, 734_004, 4_990_000),
    "east": shapely.box(734_004, 4_979_000, 743_000, 4_990_000),
}


def made(folder: Path, tile: int = 512, periods: tuple[int, ...] = YEARS, **options: Any) -> rs.Run:
    change = {"kind": "post-classification", "of": "map", "from": YEARS[0], "to": YEARS[1]}
    recipe = formula_recipe(
        folder,
        tile=tile,
        periods=list(periods),
        options={"layers": ["classification"], **options},
        steps={"change": change} if periods == YEARS else {},
    )
    return rs.run(recipe, folder / f"run-{tile}", **OPTIONS)


def regions(folder: Path, shapes: dict[str, Any] | None = None) -> Path:
    shapes = shapes or REGIONS
    path = folder / "regions.gpkg"
    gpd.GeoDataFrame(
        {"code": list(shapes)}, geometry=list(shapes.values()), crs="EPSG:32631"
    ).to_file(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def formula_allowed() -> Iterator[None]:
    with allowed():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return made(tmp_path_factory.mktemp("sampled"))


@pytest.fixture(scope="module")
def sample(run: rs.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stratified sample that an interpreter has worked on."""
    path = tmp_path_factory.mktemp("sample") / "sample.gpkg"
    rs.design_sample(run, path, size=120, minimum=12, seed=7, threads=1)
    units = gpd.read_file(path)
    units["reference"] = ["crops" if number % 2 else "" for number in units["id"]]
    units.to_file(path, layer="sample")
    return path


def class_at(units: gpd.GeoDataFrame, year: int) -> np.ndarray:
    """The class of the formula at points."""
    rows = np.floor(-units.geometry.y.to_numpy() / 10).astype(int)
    cols = np.floor(units.geometry.x.to_numpy() / 10).astype(int)
    return np.array(
        [
            values(PixelBox(r, c, r + 1, c + 1), str(year))["classification"][0, 0]
            for r, c in zip(rows.tolist(), cols.tolist(), strict=True)
        ]
    )


def test_the_file_has_units_of_each_stratum_and_no_class_of_the_map(
    run: rs.Run, sample: Path
) -> None:
    units = gpd.read_file(sample)
    assert units.columns.tolist() == [
        "id", "stratum", "stratum_name", "inclusion_probability", "reference", "geometry",
    ]  # fmt: skip
    assert units.crs == "EPSG:32631"
    assert sorted(units["id"]) == list(range(1, 121))
    # Points are centres of pixels, whose class is the stratum.
    assert set(units.geometry.x % 10) == set(units.geometry.y % 10) == {5.0}
    np.testing.assert_array_equal(class_at(units, 2022), units["stratum"])
    assert units["stratum"].map(NAMES).tolist() == units["stratum_name"].tolist()
    # The order tells nothing of strata.
    in_order = units.sort_values("id")["stratum"].to_numpy()
    assert (np.diff(in_order) != 0).sum() > 50
    record = json.loads(record_path(sample).read_text())
    classes = run.open()["classification"].isel(time=-1).to_numpy()
    assert record["total_pixels"] == (classes != 255).sum()
    assert (
        record["unmapped_pixels"]
        == run.state["steps"]["map"]["facts"]["pixels"] // 2 - (classes != 255).sum()
    )
    for one in record["strata"]:
        of = units[units["stratum"] == one["value"]]
        assert one["pixels"] == (classes == one["value"]).sum()
        assert one["hectares"] == pytest.approx(one["pixels"] / 100, rel=2e-3)
        assert len(of) == one["drawn"]
        assert of["inclusion_probability"].to_numpy() == pytest.approx(one["drawn"] / one["pixels"])
    assert sum(one["drawn"] for one in record["strata"]) == 120
    keys = ("design", "seed", "step", "layer", "span", "clusters", "periods")
    assert [record[key] for key in keys] == [
        "stratified", 7, "map", "classification", "2022", None, [2022],
    ]  # fmt: skip
    assert record["draws"] == [{"seed": 7, "units": 120}]
    assert record["grid"] == {"crs": "EPSG:32631", "resolution": 10.0, "origin": [0.0, 0.0]}
    assert record["classes"] == [{"value": c.value, "name": c.name} for c in CLASSES]


@pytest.mark.extended
def test_what_is_added_follows_and_leaves_what_was_written(run: rs.Run, sample: Path) -> None:
    counted = (sample.with_suffix(".draw") / "ledger/sample-tiles").stat().st_mtime_ns
    to = sample.with_name("more.parquet")
    design = rs.design_sample(run, to, add_to=sample, size=60, threads=1)
    old, new = gpd.read_file(sample), gpd.read_parquet(to)
    assert design.size == len(new) == 180
    kept = new[new["id"] <= 120].merge(old, on="id", suffixes=("", "_before"))
    assert len(kept) == 120
    assert kept.geometry.geom_equals(gpd.GeoSeries(kept["geometry_before"])).all()
    assert kept["reference"].tolist() == kept["reference_before"].tolist()
    assert sorted(new["id"])[120:] == list(range(121, 181))
    assert (new.loc[new["id"] > 120, "reference"] == "").all()
    assert not new.geometry.duplicated().any()
    record = json.loads(record_path(to).read_text())
    assert record["draws"] == [{"seed": 7, "units": 120}, {"seed": 7, "units": 60}]
    for one in record["strata"]:
        of = new[new["stratum"] == one["value"]]
        assert len(of) == one["drawn"]
        assert of["inclusion_probability"].to_numpy() == pytest.approx(one["drawn"] / one["pixels"])
    # Nothing was counted again.
    assert (sample.with_suffix(".draw") / "ledger/sample-tiles").stat().st_mtime_ns == counted
    # Drawn at once, it is the same units.
    sizes = {one["name"]: one["drawn"] for one in record["strata"]}
    whole = rs.design_sample(run, sample.with_name("whole.gpkg"), sizes=sizes, seed=7, threads=1)
    assert set(whole.units.geometry) == set(new.geometry)


@pytest.mark.extended
def test_a_sample_of_change_has_a_reference_for_each_period(run: rs.Run, tmp_path: Path) -> None:
    to = tmp_path / "change.parquet"
    design = rs.design_sample(
        run, to, periods=[2020, 2022], strata=["transition"], size=200, least_hectares=60,
        lonlat=True, threads=1,
    )  # fmt: skip
    units = gpd.read_parquet(to)
    assert [name for name in units.columns if "reference" in name] == [
        "reference_2020", "reference_2022",
    ]  # fmt: skip
    before, after = class_at(units, 2020), class_at(units, 2022)
    merged = units["stratum_name"] == "other"
    assert 0 < merged.sum() < len(units)
    wanted = [
        f"{NAMES[old]} unchanged" if old == new else f"{NAMES[old]} to {NAMES[new]}"
        for old, new in zip(before, after, strict=True)
    ]
    assert units.loc[~merged, "stratum_name"].tolist() == pd.Series(wanted)[~merged].tolist()
    places = units.to_crs("EPSG:4326").geometry
    assert units["longitude"].to_numpy() == pytest.approx(places.x, abs=1e-6)
    assert all(one.hectares >= 60 for one in design.strata.all[:-1])
    assert "difference of the maps of 2020 and 2022" in str(design)
    assert "--step change" in str(design)  # the run tells it in a step of its own
    of_step = rs.design_sample(
        run, tmp_path / "step.gpkg", step="change", strata=["change"], size=100, threads=1
    )
    units = of_step.units
    changed = units["stratum_name"] == "changed"
    assert ((class_at(units, 2020) != class_at(units, 2022)) == changed).all()
    assert 0 < changed.sum() < 100
    assert "--step" not in str(of_step)


def test_strata_of_classes_and_regions_are_crossed(run: rs.Run, tmp_path: Path) -> None:
    design = rs.design_sample(
        run, tmp_path / "a.gpkg", strata=["class", "regions"], regions=regions(tmp_path), id="code",
        size=160, allocation="equal", threads=1,
    )  # fmt: skip
    units = design.units
    assert units["stratum"].nunique() == 2 * len(CLASSES)
    side = np.where(units.geometry.x < 734_004, "west", "east")
    wanted = [f"{NAMES[c]} / {s}" for c, s in zip(class_at(units, 2022), side, strict=True)]
    assert units["stratum_name"].tolist() == wanted
    assert set(units.groupby("stratum").size()) == {20}


def raster_of(folder: Path, array: np.ndarray, **profile: Any) -> Path:
    path = folder / "strata.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=array.shape[1], height=array.shape[0], count=1,
        dtype=array.dtype, crs="EPSG:32631",
        transform=rasterio.transform.from_origin(728_000, 4_990_000, 1000, 1000), **profile,
    ) as file:  # fmt: skip
        file.write(array, 1)
    return path


@pytest.mark.extended
def test_a_raster_of_any_codes_gives_strata(run: rs.Run, tmp_path: Path) -> None:
    array = np.full((12, 16), 1000, np.int32)
    array[:, 8:] = 7
    path = raster_of(tmp_path, array)
    design = rs.design_sample(
        run, tmp_path / "a.gpkg", strata=["raster"], raster=path, size=80, allocation="equal",
        threads=1,
    )  # fmt: skip
    units = design.units
    wanted = np.where(units.geometry.x < 736_000, "1000", "7")
    assert units["stratum_name"].tolist() == wanted.tolist()
    array[:, :2] = -1
    path = raster_of(tmp_path, array, nodata=-1)
    given: dict[str, Any] = {"strata": ["raster"], "raster": path, "size": 80, "threads": 1}
    with pytest.raises(RecipeError, match=r"strata do not cover the map: .* lie in none of the ra"):
        rs.design_sample(run, tmp_path / "b.gpkg", **given)
    with_it = rs.design_sample(run, tmp_path / "b.gpkg", outside="stratum", **given)
    assert set(with_it.units["stratum_name"]) == {"outside", "7", "1000"}
    without = rs.design_sample(run, tmp_path / "c.gpkg", outside="leave-out", **given)
    assert set(without.units["stratum_name"]) == {"7", "1000"}
    assert (without.units.geometry.x > 730_000).all()
    record = json.loads(record_path(tmp_path / "c.gpkg").read_text())
    assert record["left_out_pixels"] > 0
    assert record["total_pixels"] + record["left_out_pixels"] == with_it.strata.pixels.sum()


@pytest.mark.extended
def test_every_tile_size_and_worker_count_draws_the_same(
    run: rs.Run, tmp_path: Path, two_workers: str, others: list[rs.Run]
) -> None:
    options = {
        "design": "two-stage", "block": 640, "blocks": 9, "per_block": 3, "chosen": "size",
        "strata": ["class", "regions"], "regions": regions(tmp_path), "id": "code",
    }  # fmt: skip
    cuts = ((run, None), (others[0], two_workers), (others[1], None))
    designs = [
        rs.design_sample(one, tmp_path / f"{k}.parquet", client=client, threads=1, **options)
        for k, (one, client) in enumerate(cuts)
    ]
    first, *rest = (design.units.drop(columns="geometry") for design in designs)
    assert first["stratum"].nunique() > 4
    for other in rest:
        pd.testing.assert_frame_equal(first, other)
    records = [json.loads(record_path(design.path).read_text()) for design in designs]
    same = ("strata", "clusters", "total_pixels", "draws")
    assert all([one[key] for key in same] == [records[0][key] for key in same] for one in records)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[rs.Run]:
    folder = tmp_path_factory.mktemp("others")
    return [made(folder, tile, YEARS[1:]) for tile in (384, 1024)]


@pytest.mark.extended
def test_two_stages_say_their_primary_units(run: rs.Run, tmp_path: Path) -> None:
    design = rs.design_sample(
        run, tmp_path / "a.gpkg", design="two-stage", block=500, blocks=12, per_block=5, threads=1
    )
    record = json.loads(record_path(tmp_path / "a.gpkg").read_text())
    clusters = record["clusters"]
    assert (clusters["size_px"], clusters["drawn"], clusters["per_cluster"]) == (50, 12, 5)
    units = design.units
    assert units.groupby("cluster").size().tolist() == [5] * 12
    squares = (units["row"] // 50).astype(str) + " " + (units["col"] // 50).astype(str)
    assert squares.groupby(units["cluster"]).nunique().eq(1).all()
    more = rs.design_sample(
        run, tmp_path / "b.gpkg", add_to=tmp_path / "a.gpkg", blocks=3, threads=1
    )
    assert more.units["cluster"].nunique() == 15
    by_size = rs.design_sample(
        run, tmp_path / "c.gpkg", design="two-stage", block=500, size=60, per_block=5, threads=1
    )
    further = rs.design_sample(
        run, tmp_path / "d.gpkg", add_to=tmp_path / "c.gpkg", blocks=2, threads=1
    )
    assert (by_size.size, further.size) == (60, 70)
    assert more.units["inclusion_probability"].mean() == pytest.approx(
        15 / 12 * units["inclusion_probability"].mean(), rel=0.3
    )


@pytest.mark.extended
def test_a_step_of_a_recipe_draws_the_same(run: rs.Run, tmp_path: Path) -> None:
    step = {"kind": "sample", "of": "map", "design": "simple", "size": 40, "seed": 3}
    recipe = formula_recipe(
        tmp_path, periods=[2020, 2022], options={"layers": ["classification"]},
        steps={"sample": step},
    )  # fmt: skip
    rows = rs.run(recipe, tmp_path / "run", **OPTIONS).table("sample").to_pandas()
    design = rs.design_sample(run, tmp_path / "a.gpkg", design="simple", size=40, seed=3, threads=1)
    assert set(zip(rows["row"], rows["col"], strict=True)) == set(
        zip(design.units["row"], design.units["col"], strict=True)
    )


def test_a_dry_run_shows_allocations_and_writes_no_sample(run: rs.Run, tmp_path: Path) -> None:
    to = tmp_path / "a.gpkg"
    plan = rs.design_sample(
        run, to, dry_run=True, expected={"water": 0.6, "built": 0.7}, standard_error=0.02, threads=1
    )
    assert not to.exists()
    assert plan.path is None
    table = plan.table().set_index("stratum")
    assert table.loc["water", "expected"] == 0.6
    assert table.loc["crops", "expected"] == 0.85
    weights = table["share"]
    spread = np.sqrt(table["expected"] * (1 - table["expected"]))
    assert plan.size == np.ceil((weights @ spread) ** 2 / (0.02**2))
    for how in ("olofsson", "proportional", "equal", "neyman"):
        assert table[how].sum() == plan.size
    errors = plan.errors()
    assert errors.loc["overall accuracy", "neyman"] <= errors.loc["overall accuracy"].min() + 1e-9
    said = str(plan)
    assert "expected standard errors" in said
    assert "without a class" in said


def test_the_command_line_draws(run: rs.Run, tmp_path: Path, capsys: Any) -> None:
    to = tmp_path / "a.gpkg"
    words = ["design", str(run.path), "--to", str(to), "--size", "40", "--expected", "water=0.7"]
    assert _invoke(words, debug=False) == 0
    assert "stratified sample of 40 units" in capsys.readouterr().out
    assert len(gpd.read_file(to)) == 40
    assert _invoke([*words[:-2], "--strata", "clas"], debug=False) == 2
    assert _invoke(words, debug=False) == 2
    assert "is there already, and interpreters may have worked on it" in capsys.readouterr().err


BOW = shapely.Polygon([(730e3, 4980e3), (735e3, 4985e3), (735e3, 4980e3), (730e3, 4985e3)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strata": ["clas"]}, "strata: names 'clas'; expected some of .* did you mean 'class'"),
        ({"strata": ["class", "change"]}, "has several of class, transition, change"),
        ({"strata": ["transition"]}, "need two periods: periods: .* the step has 2020, 2022"),
        ({"periods": [2021]}, "the step has no map of 2021; it has 2020, 2022"),
        ({"periods": [2022, 2020]}, "expected two periods, the earlier first"),
        ({"layer": "classes"}, "has no layer 'classes'; it has classification"),
        ({"size": 0}, "size: input should be greater than or equal to 1"),
        (
            {"sizes": {"forest": 5}},
            "names the stratum 'forest'; there are .*did you mean 'open for",
        ),
        ({"sizes": {"water": 10**8}}, "is to have 100,000,000 units and has .* pixels"),
        ({"expected": 1.5}, "expected: is 1.5; expected a user's accuracy"),
        ({"expected": {"lake": 0.5}}, "expected names 'lake', which is no class and no stratum"),
        ({"design": "simple", "strata": ["class"]}, "a simple sample has no strata"),
        ({"design": "systematic"}, "needs 'spacing' .--spacing. in metres, or 'size'"),
        ({"design": "two-stage"}, "needs 'block' .--block., the width of a primary unit in metres"),
        ({"design": "two-stage", "block": 5000, "blocks": 99}, "blocks is 99, and the area has"),
        ({"strata": ["raster"]}, "strata by 'raster' need the file raster"),
        ({"strata": ["regions"], "regions": "no.gpkg", "id": "code"}, "no file of regions at no"),
        ({"optimal_for": "water"}, "'optimal_for' names the class of allocation: neyman"),
        ({"seeds": 3}, "seeds: unknown key; did you mean 'seed'"),
        ({"starts": 10**7, "design": "systematic", "spacing": 100}, "a spacing of 10 x 10 pixels"),
    ],
)
def test_what_can_not_be_is_refused(
    run: rs.Run, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        rs.design_sample(run, tmp_path / "a.gpkg", threads=1, **options)
    assert not (tmp_path / "a.gpkg").exists()


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"a": REGIONS["west"], "b": REGIONS["west"].buffer(50)}, "1 pairs overlap, most 'a' and"),
        ({"a": BOW}, "has 1 zone that is not valid, such as 'a' "),
        ({"a": REGIONS["west"]}, "strata do not cover the map: .* lie in none of the regions"),
        ({"a": shapely.box(7e5, 49e5, 701e3, 4901e3)}, "the one zone does not touch"),
    ],
)
def test_regions_that_are_no_strata_are_refused(
    run: rs.Run, tmp_path: Path, shapes: dict[str, Any], said: str
) -> None:
    path = regions(tmp_path, shapes)
    with pytest.raises(RecipeError, match=said):
        rs.design_sample(
            run, tmp_path / "a.gpkg", strata=["regions"], regions=path, id="code", threads=1
        )


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((12, 16), 1.5), "raster: .*hold 1.5 .*no whole numbers"),
        (np.full((12, 16), np.nan), "raster: .*hold no value here: all is nodata"),
    ],
)
def test_rasters_that_are_no_strata_are_refused(
    run: rs.Run, tmp_path: Path, array: np.ndarray, said: str
) -> None:
    path = raster_of(tmp_path, array.astype(np.float32))
    with pytest.raises(RecipeError, match=said):
        rs.design_sample(run, tmp_path / "a.gpkg", strata=["raster"], raster=path, threads=1)


def test_what_can_not_be_added_to_is_refused(run: rs.Run, sample: Path, tmp_path: Path) -> None:
    to = tmp_path / "more.gpkg"
    for given, said in (
        ({"size": 5, "design": "simple"}, "'design' is decided by the sample that is added to"),
        ({"size": 5, "seed": 8}, "'seed' is decided by the sample that is added to"),
        ({}, "needs size or sizes, which say how much to add; found none"),
        ({"blocks": 5}, "needs size or sizes, which say how much to add; found blocks"),
    ):
        with pytest.raises(RecipeError, match=said):
            rs.design_sample(run, to, add_to=sample, threads=1, **given)
    with pytest.raises(RecipeError, match="there is no sample at"):
        rs.design_sample(run, to, add_to=tmp_path / "none.gpkg", size=5)
    units = gpd.read_file(sample)
    moved = tmp_path / "moved.gpkg"
    record = json.loads(record_path(sample).read_text())
    record_path(moved).write_text(json.dumps(record))
    units.geometry = units.translate(10, 0)
    units.to_file(moved, layer="sample")
    with pytest.raises(RecipeError, match="or were not drawn by its design, such as id"):
        rs.design_sample(run, to, add_to=moved, size=5, threads=1)
    record_path(moved).write_text(json.dumps(record | {"version": "0" * 16, "versions": {}}))
    with pytest.raises(RecipeError, match="was drawn from version 0000000000000000 of the step"):
        rs.design_sample(run, to, add_to=moved, size=5)
    record_path(moved).unlink()
    with pytest.raises(RecipeError, match=r"has no design beside it: moved\.gpkg"):
        rs.design_sample(run, to, add_to=moved, size=5)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("a.shp", r"ends in '\.shp'; expected one of \.gpkg, \.parquet"),
        ("s3://maps/a.gpkg", "can't be written to; give a local file, and copy it"),
    ],
)
def test_other_kinds_of_files_are_refused(run: rs.Run, to: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        rs.design_sample(run, to, size=5)


def test_a_run_that_is_not_done_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rs.TilesFailedError):
        made(tmp_path, fails=["x142_y972"])
    with pytest.raises(RunFolderError, match="is failed, and only a finished one can be read"):
        rs.design_sample(tmp_path / "run-512", tmp_path / "a.gpkg", size=5)


@pytest.mark.extended
def test_pictures_show_what_the_run_saw_and_no_class(landscape_run: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    folder = tmp_path / "chips"
    design = rs.design_sample(
        landscape_run, tmp_path / "a.gpkg", size=2, design="simple", chips=folder, threads=1
    )
    assert design.chips == 2
    assert sorted(path.name for path in folder.iterdir()) == ["unit-000001.png", "unit-000002.png"]
    plan = RunPlan.read(rs.Run(landscape_run).folder)
    (name, given), *_ = plan.recipe.inputs.items()
    assert {"red", "nir"} <= set(given.bands)
    bands = ["nir", "red", "red" if "green" not in given.bands else "green"]
    span = json.loads(record_path(tmp_path / "a.gpkg").read_text())["span"]
    units = {}
    for unit in design.units.itertuples():
        box = PixelBox(int(unit.row), int(unit.col), int(unit.row) + 1, int(unit.col) + 1).pad(24)
        key = TileKey("map", span, box.col0 // 512, -(box.row0 // 512) - 1)
        read = plan.setup.source(name, at=span).read(box, key, Resources(NumericProfile("cpu", 1)))
        seen = read["composite"].sel(band=bands).transpose("time", "y", "x", "band").to_numpy()
        units[int(unit.id)] = seen
    # One stretch for all of them.
    low, high = np.percentile(
        np.concatenate([seen[np.isfinite(seen).all(axis=-1)] for seen in units.values()]), [2, 98]
    )
    for number, seen in units.items():
        page = (imread(folder / f"unit-{number:06d}.png")[..., :3] * 255).round()
        first = page[12 + 20 :, 12:][: 49 * 6, : 49 * 6]
        wanted = np.clip((seen[0] - low) / (high - low), 0, 1) * 255
        wanted[~np.isfinite(seen[0]).all(axis=-1)] = 255
        found = first[3::6, 3::6]
        np.testing.assert_allclose(found[24, 24], wanted[24, 24], atol=1)
        np.testing.assert_allclose(found[:20], wanted[:20], atol=1)
    # The line around the unit's pixel: white, then black.
    assert (first[24 * 6 - 1, 24 * 6 : 25 * 6] == 255).all()
    assert (first[24 * 6 - 2, 24 * 6 : 25 * 6] == 0).all()
    # Those that are there stay.
    assert write_chips(rs.Run(landscape_run), design.units, folder, span) == 0


def test_a_run_without_imagery_has_no_pictures(run: rs.Run, tmp_path: Path) -> None:
    units = gpd.GeoDataFrame({"id": [1], "row": [-498_000], "col": [73_500]})
    with pytest.raises(RecipeError, match="chips: the run reads no imagery that could be shown"):
        write_chips(run, units, tmp_path, "2022")
