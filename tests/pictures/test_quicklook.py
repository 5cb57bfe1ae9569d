"""The pixels of the picture: colours, place, orientation, proportions; the shares it prints."""

import logging
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyproj
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.image import imread
from odc.geo.xr import xr_coords

import rsscale.pictures.sheet as sheet
from rsscale.errors import AreaError, BandError, ModelError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.pictures.quicklook import quicklook, rgb
from rsscale.pictures.sheet import UNNAMED, save_options
from rsscale.text.wording import hectares

CLASSES = (
    LandClass(2, "water", "#1060f0"),
    LandClass(3, "forest", "#108040"),
    LandClass(8, "town $a$", "#e03050"),
)
COLORS = {c.value: tuple(int(c.color[k : k + 2], 16) for k in (1, 3, 5)) for c in CLASSES}
CHANGE = (LandClass(0, "unchanged", "#e4e4e0"), LandClass(1, "changed", "#d7301f"))


def product(values: np.ndarray, *, crs: str = "EPSG:32631", resolution: float = 10.0) -> xr.Dataset:
    """Maps ``(time, y, x)`` of the years from 2020."""
    height, width = values.shape[-2:]
    row = -round(60 / resolution) if crs == "EPSG:4326" else -500_000
    box = Grid(crs, resolution).geobox_of(PixelBox(row, 7, row + height, 7 + width))
    coords = dict(xr_coords(box, always_yx=True))
    years = [np.datetime64(f"{2020 + k}-01-01", "ns") for k in range(values.shape[0])]
    coords["time"] = ("time", years)
    attributes = class_attributes(CLASSES) | {"nodata": NODATA, "grid_mapping": "spatial_ref"}
    return xr.Dataset({"classification": (("time", "y", "x"), values, attributes)}, coords)


def changes(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"change": (("y", "x"), values, class_attributes(CHANGE))}, _yx(values.shape))


def _yx(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    return {"y": -np.arange(shape[0], dtype=float), "x": np.arange(shape[1], dtype=float)}


def random_values(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice([2, 3, 8], shape).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    return (imread(path)[..., :3] * 255).round().astype(np.uint8)


def painted(values: np.ndarray, zoom: int = 1) -> np.ndarray:
    table = np.full((256, 3), 255, np.uint8)
    for value, color in COLORS.items():
        table[value] = color
    return table[values].repeat(zoom, 0).repeat(zoom, 1)


def holds(picture: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    """Where a part lies in the picture, pixel by pixel."""
    whole, small = (image.astype(np.uint32) @ [65536, 256, 1] for image in (picture, part))
    height, width = small.shape
    corners = whole[: whole.shape[0] - height + 1, : whole.shape[1] - width + 1]
    places = np.argwhere(corners == small[0, 0])
    # Row by row: most places fall out at the first one.
    for offset in range(height):
        row = small[offset]
        places = [(r, c) for r, c in places if (whole[r + offset, c : c + width] == row).all()]
    return [(int(r), int(c)) for r, c in places]


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, str]]:
    """Every line of text of the pictures made in a test, with where it is anchored in the PNG."""
    found: list[tuple[int, int, str]] = []

    def options(figure: Figure) -> dict[str, Any]:
        chosen = save_options(figure)
        box = chosen["bbox_inches"]
        left, top = box.x0 * figure.dpi, int(box.y1 * figure.dpi)
        for text in figure.texts:
            x, y = text.get_transform().transform(text.get_position())
            found.append((round(x - left), round(top - y), text.get_text()))
        return chosen

    monkeypatch.setattr("rsscale.pictures.quicklook.save_options", options)
    return found


def test_a_map_is_drawn_pixel_by_pixel_with_north_up(tmp_path: Path) -> None:
    values = random_values(1, 410, 500)
    path = quicklook(product(values), tmp_path / "made" / "map.png", title="Map")
    assert path == tmp_path / "made" / "map.png"
    assert len(holds(read(path), painted(values[0]))) == 1
    south_up = product(values).isel(y=slice(None, None, -1))
    assert (read(quicklook(south_up, tmp_path / "b.png", title="Map")) == read(path)).all()


def test_a_small_map_is_enlarged_by_whole_pixels(tmp_path: Path) -> None:
    values = random_values(1, 9, 14)
    picture = read(quicklook(product(values), tmp_path / "map.png"))
    assert len(holds(picture, painted(values[0], 800 // 14))) == 1


def test_a_lazy_map_is_thinned_without_mixing_classes(tmp_path: Path) -> None:
    values = random_values(1, 5000, 300)
    ds = product(values)
    ds["classification"] = ds["classification"].copy(
        data=da.from_array(values, chunks=(1, 700, 300))
    )
    picture = read(quicklook(ds, tmp_path / "map.png", max_px=500))
    assert len(holds(picture, painted(values[0, 5::10, 5::10]))) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5000)])
def test_odd_shapes_are_drawn(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = random_values(1, *shape)
    picture = read(quicklook(product(values), tmp_path / "map.png", max_px=300))
    assert (picture == COLORS[int(values[0, 0, 0])]).all(axis=-1).any()


def test_empty_rims_are_cut_and_holes_are_not(tmp_path: Path) -> None:
    values = random_values(1, 300, 420)
    values[0, 100:120, 200:210] = NODATA
    framed = np.pad(values, ((0, 0), (30, 10), (0, 70)), constant_values=NODATA)
    picture = read(quicklook(product(framed), tmp_path / "map.png"))
    (row, col), *others = holds(picture, painted(values[0]))
    assert not others
    frame = picture[row - 1, col - 1 : col + 421]
    assert (frame == frame[0]).all()
    assert (frame[0] != 255).all()


@pytest.mark.parametrize("shape", [(1, 600, 900), (2, 900, 600)])
@pytest.mark.parametrize("corner", [(0, 0), (301, 77), (560, 560)])
def test_a_small_area_of_a_large_tile_is_drawn_pixel_by_pixel(
    tmp_path: Path, shape: tuple[int, int, int], corner: tuple[int, int]
) -> None:
    """The rim of the tiles is no reason to thin what lies inside."""
    part = random_values(shape[0], 40, 39)
    values = np.full(shape, NODATA, np.uint8)
    row, col = corner
    values[:, row : row + 40, col : col + 39] = part
    picture = read(quicklook(product(values), tmp_path / "a.png", max_px=200))
    zoom = 200 // 40 if shape[0] == 1 else 200 // 80
    for year in part:
        assert len(holds(picture, painted(year, zoom))) == 1
    # One that fills its tiles is thinned as before.
    whole = random_values(*shape)
    whole[:, 0, 0] = NODATA
    thin = read(quicklook(product(whole), tmp_path / "b.png", max_px=200))
    assert max(thin.shape) < 800


def test_a_map_without_any_value_is_drawn(tmp_path: Path) -> None:
    values = np.full((1, 20, 30), NODATA, np.uint8)
    assert quicklook(product(values), tmp_path / "map.png").exists()


@pytest.mark.parametrize("shape", [(410, 500), (500, 410), (200, 600)])
def test_panels_of_years_and_change_are_aligned(
    tmp_path: Path, shape: tuple[int, int], texts: list[tuple[int, int, str]]
) -> None:
    values = random_values(2, *shape)
    change = (values[0] != values[1]).astype(np.uint8)
    ds = product(values)
    picture = read(quicklook(ds, tmp_path / "map.png", change=changes(change), max_px=4000))
    table = np.array([[0xE4, 0xE4, 0xE0], [0xD7, 0x30, 0x1F]], np.uint8)
    places = [
        holds(picture, part) for part in (painted(values[0]), painted(values[1]), table[change])
    ]
    assert [len(place) for place in places] == [1, 1, 1]
    corners = [place[0] for place in places]
    # In one row or column, or two and one: rows and columns share their edges.
    assert len({row for row, _ in corners}) + len({col for _, col in corners}) == 4
    headings = {
        line: (x, y) for x, y, line in reversed(texts) if line in ("2020", "2021", "change")
    }
    for (row, col), name in zip(corners, ("2020", "2021", "change"), strict=True):
        x, y = headings[name]
        assert x == col
        assert 0 < row - y < 20


def test_what_was_not_observed_is_paler_and_counted(
    tmp_path: Path, texts: list[tuple[int, int, str]]
) -> None:
    values = random_values(2, 12, 10)
    values[:, 0, 0] = NODATA
    observed = values.copy()
    observed[1, 3:6, 2:8] = NODATA  # 18 of the 119 pixels
    picture = read(
        quicklook(product(values), tmp_path / "map.png", observed=product(observed), max_px=20)
    )
    paler = painted(values[1]).astype(float)
    paler[3:6, 2:8] = 255 - (255 - paler[3:6, 2:8]) * 0.45
    assert len(holds(picture, painted(values[0]))) == 1
    assert len(holds(picture, paler.round().astype(np.uint8))) == 1
    words = [line for _, _, line in texts]
    at = words.index("paler: not observed then, told")
    row = {line for _, y, line in texts if y == texts[at][1]}
    assert row == {words[at], "–", "15.1 %", hectares(0.18)}  # noqa: RUF001 -- a dash for none


def test_what_was_observed_is_that_of_the_same_times(tmp_path: Path) -> None:
    values = random_values(3, 9, 9)
    observed = values.copy()
    observed[0] = NODATA
    later = product(values).isel(time=slice(1, None))
    paths = [
        quicklook(later, tmp_path / f"{given is None}.png", observed=given)
        for given in (None, product(observed))
    ]
    assert (read(paths[0]) == read(paths[1])).all()  # 2020 alone was not observed


def test_another_map_of_what_was_observed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match=r"observed has .* the same area and times"):
        quicklook(
            product(random_values(2, 9, 9)), tmp_path / "map.png",
            observed=product(random_values(1, 9, 9)),
        )  # fmt: skip


def test_shares_are_of_all_pixels_though_the_map_is_thinned(
    tmp_path: Path, texts: list[tuple[int, int, str]]
) -> None:
    values = np.full((1, 1000, 1000), 2, np.uint8)
    values[0, ::2] = 3  # what thinning by two would lose or double
    values[0, 400:500] = NODATA
    values[0, 999, 999] = 8
    quicklook(product(values), tmp_path / "map.png", max_px=500)
    lines = {line for _, _, line in texts}
    assert {"50.0 %", "<0.1 %", "no data", "town $a$"} <= lines
    by_row = {y: line for _, y, line in texts if line.endswith("%")}
    names = {line: y for _, y, line in texts if line in ("water", "forest", "town $a$")}
    assert [by_row[names[n]] for n in ("water", "forest", "town $a$")] == [
        "50.0 %",
        "50.0 %",
        "<0.1 %",
    ]


@pytest.mark.parametrize(
    ("width", "meters", "length", "text"),
    [
        (800, 10.0, 200, "2 km"),
        (800, 0.5, 200, "100 m"),
        (500, 30.0, 67, "2 km"),
        (40, 10.0, 50, "500 m"),
    ],
)
def test_scale_bar_has_a_round_length(width: int, meters: float, length: int, text: str) -> None:
    assert sheet.scale_bar(width, meters) == (length, text)


@pytest.mark.parametrize(
    ("size", "max_px", "length", "text"),
    # 1000 px of 10 m on 500 px: 2 km are 100 px. 20 px on 800 px: 50 m are 200 px.
    [(1000, 500, 100, "2 km"), (20, 1600, 200, "50 m")],
)
def test_scale_bar_of_a_thinned_and_of_an_enlarged_map(
    tmp_path: Path,
    size: int,
    max_px: int,
    length: int,
    text: str,
    texts: list[tuple[int, int, str]],
) -> None:
    path = quicklook(product(random_values(1, size, size)), tmp_path / "map.png", max_px=max_px)
    picture = read(path)
    assert text in [line for _, _, line in texts]
    dark = (picture[-60:] == [0x26, 0x26, 0x26]).all(axis=-1)
    row = dark[dark.sum(axis=1).argmax()]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
    assert (edges[1::2] - edges[::2]).max() == length


def test_degrees_are_drawn_in_proportion_and_measured(
    tmp_path: Path, texts: list[tuple[int, int, str]]
) -> None:
    """At 60 degrees north a degree is half as wide as it is high."""
    values = np.full((1, 400, 400), 2, np.uint8)
    picture = read(
        quicklook(product(values, crs="EPSG:4326", resolution=0.001), tmp_path / "m.png")
    )
    water = (picture == COLORS[2]).all(axis=-1)
    water[:, water.shape[1] - 380 :] = False  # the legend's swatch
    height, width = np.flatnonzero(water.any(axis=1)).size, np.flatnonzero(water.any(axis=0)).size
    assert height / width == pytest.approx(1 / np.cos(np.radians(59.8)), rel=0.01)
    lines = [line for _, _, line in texts]
    assert "EPSG:4326 · pixel 0.001°" in lines
    assert "5 km" in lines  # a quarter of 400 px of 56 m


def test_the_note_says_whose_data_it_is(tmp_path: Path, texts: list[tuple[int, int, str]]) -> None:
    ds = product(random_values(1, 30, 30)).assign_attrs(attribution="Copernicus", title="Named")
    quicklook(ds, tmp_path / "map.png")
    quicklook(ds, tmp_path / "map.png", credit="mine", title="Other")
    lines = [line for _, _, line in texts]
    assert "EPSG:32631 · pixel 10 m · true north 4.5° east of up · Copernicus" in lines
    assert "EPSG:32631 · pixel 10 m · true north 4.5° east of up · mine" in lines
    assert {"Named", "Other"} <= set(lines)


def test_the_same_map_gives_the_same_bytes(tmp_path: Path) -> None:
    ds = product(random_values(1, 60, 80))
    first, second = (quicklook(ds, tmp_path / f"{k}.png").read_bytes() for k in "ab")
    assert first == second


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    ds = product(random_values(1, 30, 40))
    with pytest.raises(AreaError, match="draw both of the same area"):
        quicklook(ds, tmp_path / "map.png", change=changes(np.zeros((30, 41), np.uint8)))
    ds["classification"].attrs.clear()
    with pytest.raises(ModelError, match="classes are not known"):
        quicklook(ds, tmp_path / "map.png")


def composite(seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(2, 0.05, (4, 50, 60)).astype("float32")
    return xr.DataArray(
        values, dims=("band", "y", "x"), coords={"band": ["blue", "green", "red", "nir"]}
    )


def test_rgb_stretches_between_percentiles_of_all_three_bands() -> None:
    comp = composite()
    comp[2, 3, 4] = np.nan
    picture = rgb(comp, percentiles=(2, 98))
    assert picture.shape == (50, 60, 3)
    assert picture.dtype == np.uint8
    assert picture[3, 4].tolist() == [255, 255, 255]
    values = np.stack([comp.sel(band=b).values for b in ("red", "green", "blue")], -1)
    known = np.isfinite(values).all(axis=-1)
    low, high = np.percentile(values[known], (2, 98))
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(picture[known], expected[known], atol=0.51)
    assert (picture[known] == 0).mean() == pytest.approx(0.02, abs=0.005)


def test_rgb_takes_other_bands_one_time_and_integers() -> None:
    comp = composite()
    false_color = rgb(comp.expand_dims("time"), ("nir", "red", "green"))
    renamed = comp.assign_coords(band=["x", "blue", "green", "red"])
    np.testing.assert_array_equal(false_color, rgb(renamed))
    whole = (comp * 10_000).astype("uint16")
    whole[:, :5] = 0
    whole.attrs["nodata"] = 0
    picture = rgb(whole)
    assert (picture[:5] == 255).all()
    np.testing.assert_allclose(picture[5:], rgb(whole[:, 5:]))


def test_rgb_of_nothing_and_of_one_value() -> None:
    comp = composite()
    assert (rgb(comp * np.nan) == 255).all()
    assert (rgb(comp * 0) == 0).all()
    with pytest.raises(BandError, match="did you mean 'red'"):
        rgb(comp, ("rod", "green", "blue"))
    with pytest.raises(AreaError, match="2 times; choose one"):
        rgb(xr.concat([comp, comp], "time"))


@pytest.mark.parametrize(
    ("crs", "row", "bar", "note"),
    [
        ("EPSG:3857", -840_000, "200 m", "EPSG:3857 · pixel 5.01 m on the ground"),
        ("EPSG:32631", -500_000, "500 m", "EPSG:32631 · pixel 10 m · true north 4.5° east of up"),
        ("EPSG:2263", -20_000, "100 m", "EPSG:2263 · pixel 3.04801 m"),
        ("EPSG:6933", -600_000, "200 m", "EPSG:6933 · pixel 6.65 m on the ground"),
    ],
)
def test_scale_bars_are_those_of_the_ground(
    tmp_path: Path,
    texts: list[tuple[int, int, str]],
    crs: str,
    row: int,
    bar: str,
    note: str,
) -> None:
    col = {"EPSG:2263": 98_000}.get(crs, 7)
    box = Grid(crs, 10).geobox_of(PixelBox(row, col, row + 200, col + 200))
    values = np.full((200, 200), 2, np.uint8)
    layer = xr.DataArray(values, dims=("y", "x"), coords=dict(xr_coords(box, always_yx=True)))
    ds = xr.Dataset({"classification": layer.assign_attrs(class_attributes(CLASSES))})
    quicklook(ds, tmp_path / "m.png")
    lines = [line for _, _, line in texts]
    assert bar in lines
    assert note in lines


def test_classes_of_one_colour_are_said(tmp_path: Path, texts: list[tuple[int, int, str]]) -> None:
    ds = product(random_values(1, 30, 40))
    alike = (CLASSES[0], LandClass(3, "lake", "#1060F0"), CLASSES[2])
    ds["classification"].attrs.update(class_attributes(alike))
    quicklook(ds, tmp_path / "m.png")
    lines = " ".join(line for _, _, line in texts)
    assert "lake (same colour as water)" in lines
    assert lines.count("same colour") == 1


@pytest.mark.parametrize(("dtype", "none"), [("float32", np.nan), ("int16", -1), ("uint8", 0)])
def test_nodata_is_what_the_layer_says(tmp_path: Path, dtype: str, none: float) -> None:
    values = random_values(1, 60, 80)
    values[0, 10:20] = NODATA
    expected = read(quicklook(product(values), tmp_path / "a.png"))
    stored = np.where(values == NODATA, none, values.astype(float)).astype(dtype)
    ds = product(stored)
    ds["classification"].attrs["nodata"] = none
    np.testing.assert_array_equal(read(quicklook(ds, tmp_path / "b.png")), expected)


def test_values_that_are_no_class_are_seen_and_named(
    tmp_path: Path, texts: list[tuple[int, int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    values = random_values(1, 60, 80)
    values[0, 10:20, 20:60] = 77
    values[0, 0, 0] = 78
    with caplog.at_level(logging.WARNING):
        picture = read(quicklook(product(values), tmp_path / "m.png"))
    magenta = (picture == [255, 0, 255]).all(axis=-1)
    assert UNNAMED == "#ff00ff"
    assert magenta.sum() > 400 * 10**2
    lines = [line for _, _, line in texts]
    assert "no class: 77, 78" in lines
    assert f"{100 * 401 / 4800:.1f} %" in lines
    assert "the values 77 (400 pixels), 78 (1 pixel), which is none of its classes" in caplog.text


def test_the_legend_is_by_area_with_hectares(
    tmp_path: Path, texts: list[tuple[int, int, str]]
) -> None:
    values = np.full((2, 100, 100), 8, np.uint8)
    values[:, :30] = 3
    values[1, :10] = 2
    quicklook(product(values), tmp_path / "m.png", change=changes(values[0] != values[1]))
    places = {line: y for _, y, line in texts}
    assert places["town $a$"] < places["forest"] < places["water"] < places["changed"]
    lines = [line for _, _, line in texts]
    assert "2021, ha" in lines
    areas = pixel_areas(Grid("EPSG:32631", 10), PixelBox(-500_000, 7, -499_900, 107)) / 10_000
    for part in (areas[30:], areas[10:30], areas[:10]):
        assert hectares(part.sum()) in lines
    quicklook(product(values), tmp_path / "n.png", by_area=False)
    own = {line: y for _, y, line in texts}
    assert own["water"] < own["forest"] < own["town $a$"]


def test_north_is_where_it_is(tmp_path: Path, texts: list[tuple[int, int, str]]) -> None:
    """Far west in a UTM zone, where grid north lies west of true north: Snyder's formula."""
    quicklook(product(random_values(1, 40, 40)), tmp_path / "m.png")
    quicklook(product(random_values(1, 40, 40), crs="EPSG:4326", resolution=0.001), tmp_path / "n")
    notes = [line for _, _, line in texts if line.startswith("EPSG")]
    longitude, latitude = pyproj.Transformer.from_crs(32631, 4326, always_xy=True).transform(
        270, 5_000_000 - 200
    )
    convergence = np.degrees(
        np.arctan(np.tan(np.radians(longitude - 3)) * np.sin(np.radians(latitude)))
    )
    assert notes[0].startswith(f"EPSG:32631 · pixel 10 m · true north {-convergence:.1f}° east")
    assert notes[1] == "EPSG:4326 · pixel 0.001°"
    assert [line for _, _, line in texts].count("N") == 2


def test_colours_that_some_people_mix_up_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ds = product(random_values(1, 30, 40))
    with caplog.at_level(logging.WARNING):
        quicklook(ds, tmp_path / "m.png")
        assert "hard to tell apart" not in caplog.text
        mixed = (CLASSES[0], LandClass(3, "forest", "#6fa052"), LandClass(8, "crops", "#d9954a"))
        ds["classification"].attrs.update(class_attributes(mixed))
        picture = read(quicklook(ds, tmp_path / "n.png"))
    assert "colours of 'forest' and 'crops' (protanopia) are hard to tell apart" in caplog.text
    assert (picture == [0x6F, 0xA0, 0x52]).all(axis=-1).any()  # drawn as they are given


def test_a_pair_of_years_is_named_as_one(tmp_path: Path, texts: list[tuple[int, int, str]]) -> None:
    ds = product(random_values(1, 30, 40)).assign_coords(span=("time", ["2019-2020"]))
    change = changes(np.zeros((1, 30, 40), np.uint8)[0]).expand_dims("time")
    change = change.assign_coords(span=("time", ["2019-2020"]))
    quicklook(ds, tmp_path / "m.png", change=change)
    lines = [line for _, _, line in texts]
    assert "2019\u20132020" in lines
    assert "change 2019\u20132020" in lines
