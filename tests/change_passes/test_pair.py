"""Two dates side by side: of imagery and of layers, and what is no pair."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formula_pass import formula_recipe
from landscape import Landscape
from pair_pass import KIND

import rsscale as rs
from rsscale.change_passes import pair as pair_module
from rsscale.errors import RecipeError
from rsscale.model.outputs import EmbeddingOutput

BOX = [6.0, 44.965, 6.01, 44.975]
STEP = {"kind": KIND, "of": "map", "from": 2019, "to": 2020}


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "formula_pass, pair_pass")


def of_layers(folder: Path, layers: list[str], **step: Any) -> dict[str, Any]:
    return formula_recipe(
        folder, tile=384, periods=[2019, 2020], options={"layers": layers},
        steps={"pair": STEP | step},
    )  # fmt: skip


def test_layers_are_physical_values_and_nothing_where_either_date_has_none(tmp_path: Path) -> None:
    recipe = of_layers(tmp_path, ["classification", "temperature", "index"],
                       bands=["temperature", "index"])  # fmt: skip
    both = rs.preview(recipe, BOX, step="map", device="cpu")
    pair = rs.preview(recipe, BOX, step="pair", device="cpu").squeeze("time")
    assert list(pair["before"].attrs["names"]) == ["temperature", "index"]
    for time, date in enumerate(("before", "after")):
        stored = both["temperature"].values[time]
        wanted = np.where(stored == -32768, np.nan, stored * 0.01 + 15)
        np.testing.assert_allclose(pair[date].values[0], wanted, rtol=1e-5)
        np.testing.assert_array_equal(pair[date].values[1], both["index"].values[time])
    seen = (both["classification"] != 255).all("time").values
    assert 0.5 < seen.mean() < 0.99
    inside = ~np.isnan(both["index"].values).all(axis=0)  # beyond the area layers are nodata
    np.testing.assert_array_equal(pair["seen"].values[inside] == 1, seen[inside])


def test_layers_of_floats_are_compared_unless_bands_are_named(tmp_path: Path) -> None:
    recipe = of_layers(tmp_path, ["classification", "temperature", "index"])
    pair = rs.preview(recipe, BOX, step="pair", device="cpu")
    assert list(pair["before"].attrs["names"]) == ["index"]


@pytest.fixture(scope="module")
def two_years(landscape: Landscape, tmp_path_factory: pytest.TempPathFactory) -> Landscape:
    """The archive with one date of each season in either year."""
    other = landscape.copy(tmp_path_factory.mktemp("two_years") / "archive")
    for path in other.folder.rglob("*.json"):
        text = path.read_text()
        for day in ("04-01", "07-05"):
            text = text.replace(f'"datetime": "2023-{day}', f'"datetime": "2022-{day}')
        path.write_text(text)
    return other


def landscape_recipe(landscape: Landscape, **step: Any) -> dict[str, Any]:
    dates = {"from": 2022, "to": 2023}
    steps = {"pair": STEP | dates | {"of": "s2"} | step}
    recipe = landscape.recipe(periods=[2022, 2023], steps=steps)
    del recipe["model"]
    return recipe


@pytest.mark.parametrize("rows", [37, 512])
def test_windows_of_imagery_are_bands(
    two_years: Landscape, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """The composites of both periods, whatever part of a tile is held at once."""
    monkeypatch.setattr(pair_module, "WARP_BLOCK", rows)
    monkeypatch.setattr(pair_module, "PART_BYTES", 1)
    recipe = landscape_recipe(two_years, bands=["nir", "red"])
    found = rs.preview(recipe, BOX, step="pair", device="cpu").squeeze("time")
    names = ["spring-nir", "spring-red", "summer-nir", "summer-red"]
    assert list(found["before"].attrs["names"]) == names
    items = rs.search(str(two_years.folder / "catalog.json"), area=BOX)
    grid = rs.Grid("EPSG:32631", 10)
    around = grid.geobox_of(grid.box(rs.read_area(BOX)).pad(64))
    cube = rs.load(items, around, ["red", "nir", "scl"])
    masked = rs.mask(cube, "sentinel2-scl", dilate=20).sel(band=["nir", "red"])
    windows = {"windows": {"spring": ["03-01", "05-31"], "summer": ["06-01", "09-30"]}}
    seen = np.ones(found["seen"].shape, bool)
    for year, date in ((2022, "before"), (2023, "after")):
        composite = rs.composite(masked, windows, "median", years=[year])
        wanted = composite[..., 64:-64, 64:-64].values.reshape(4, *seen.shape)
        np.testing.assert_array_equal(found[date].values, wanted)
        seen &= ~np.isnan(wanted).any(axis=0)
    np.testing.assert_array_equal(found["seen"].values == 1, seen)
    assert 0.2 < seen.mean() < 1


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"from": 2020, "to": 2019}, "from is 2020 and to is 2019; expected two periods, the earl"),
        ({"from": 2020, "to": 2020}, "the earlier first"),
        ({"to": 2024}, "to is 2024, and 'map' is of 2019, 2020"),
        ({"bands": ["indx"]}, "bands has 'indx'.*did you mean 'index'"),
        ({"bands": ["index", "index"]}, "name each once"),
        ({"bands": ["classification"]}, "holds classes.*post-classification"),
        ({"of": None}, "needs 'of'"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rs.plan(of_layers(tmp_path, ["classification", "index"], **step))


def test_a_step_of_classes_alone_has_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no layer 'embedding' and none of floats"):
        rs.plan(of_layers(tmp_path, ["classification"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"static": True}, "is static, and two dates"),
        ({"series": True}, "is a series, and two dates"),
    ],
)
def test_inputs_without_two_dates_are_refused(
    landscape: Landscape, change: dict, message: str
) -> None:
    recipe = landscape_recipe(landscape)
    recipe["inputs"]["s2"] |= change
    if "series" in change:
        del recipe["inputs"]["s2"]["composite"]
    with pytest.raises(RecipeError, match=message):
        rs.preview(recipe, BOX, step="pair", device="cpu")


def test_bands_that_an_input_has_not_are_named(landscape: Landscape) -> None:
    recipe = landscape_recipe(landscape, bands=["green"])
    with pytest.raises(RecipeError, match="bands has 'green'; input 's2' has red, nir"):
        rs.preview(recipe, BOX, step="pair", device="cpu")


def test_embeddings_are_decoded() -> None:
    """Of both quantizations; nodata of any feature is no value of the pixel."""
    stored = np.array([[[-127, 0, 127, -128]], [[5, -6, 7, 8]]], np.int8)
    for quantization, wanted in (
        ("linear", stored / 127),
        ("square", np.sign(stored.astype(float)) * (np.abs(stored.astype(float)) / 127.5) ** 2),
    ):
        (layer,) = EmbeddingOutput(size=2, quantization=quantization).layers(())  # type: ignore[arg-type]
        values = pair_module._physical(stored, layer)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[:, 0, :3], wanted[:, 0, :3], rtol=1e-6)
        assert np.isnan(values[0, 0, 3])
        assert pair_module.Pair.of(values, values, ("a", "b")).seen.tolist() == [
            [True, True, True, False]
        ]


def test_bands_of_some_windows_are_enough_where_that_is_said() -> None:
    before, after = np.zeros((3, 1, 4), np.float32), np.ones((3, 1, 4), np.float32)
    before[0, 0, 1], after[1, 0, 2], after[:, 0, 3] = np.nan, np.nan, np.nan
    names = ("spring-red", "summer-red", "autumn-red")
    every = pair_module.Pair.of(before, after, names)
    some = pair_module.Pair.of(before, after, names, 0.5)
    assert every.seen.tolist() == [[True, False, False, False]]
    assert some.seen.tolist() == [[True, True, True, False]]
    source = pair_module.PairSource({}, "2019-2020", names)
    assert source.parameters() == {"bands": list(names)}  # as of all runs before there was another
    assert replace(source, least_shared=0.5).parameters()["least_shared"] == 0.5
