"""Objects over the map in Chromium: shapes near, counts far, what a click says."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import requests

import rsscale as rs
from rsscale.store.storage import open_storage
from rsscale.viewer.static import write_viewer

SIZE = {"width": 1200, "height": 800}
PANEL = 320  # pixels of the screen left of the map


@pytest.fixture(scope="module")
def served(object_run: Path) -> Iterator[rs.Viewer]:
    with rs.view(object_run) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def ponds(object_run: Path) -> gpd.GeoDataFrame:
    return rs.read_objects(object_run, "ponds", span=2024)


def test_files_are_made_when_asked_for_and_read_by_ranges(
    served: rs.Viewer, ponds: gpd.GeoDataFrame
) -> None:
    address = f"{served.url}objects/ponds/2024"
    counts = requests.get(f"{address}.json", timeout=30).json()
    by_name = Counter(ponds["name"])
    assert {one["name"]: one["objects"] for one in counts["classes"]} == dict(by_name)
    for level in counts["levels"]:
        assert sum(sum(cell[2:]) for cell in level["cells"]) == len(ponds)
    part = requests.get(f"{address}.fgb", headers={"Range": "bytes=0-7"}, timeout=30)
    assert part.status_code == 206
    assert part.content[:3] == b"fgb"
    for name in ("ponds/2022.fgb", "ponds/2024.gpkg", "map/2024.fgb", "ponds/%2e%2e/2024.fgb"):
        assert requests.get(f"{served.url}objects/{name}", timeout=30).status_code == 404


def test_a_cell_holds_the_objects_whose_centre_lies_in_it(
    served: rs.Viewer, ponds: gpd.GeoDataFrame
) -> None:
    counts = requests.get(f"{served.url}objects/ponds/2024.json", timeout=30).json()
    west, north = counts["corner"]
    values = [one["value"] for one in counts["classes"]]
    for level in counts["levels"]:
        wanted = Counter(
            (int((row.x - west) // level["side"]), int((north - row.y) // level["side"]), row.code)
            for row in ponds.rename(columns={"class": "code"}).itertuples()
        )
        found = {
            (col, row, value): count
            for col, row, *each in level["cells"]
            for value, count in zip(values, each, strict=True)
            if count
        }
        assert found == wanted


def test_published_objects_are_the_same_files_and_written_once(
    object_run: Path, served: rs.Viewer, tmp_path: Path
) -> None:
    shutil.copytree(object_run / "product.zarr", tmp_path / "product.zarr")
    target = open_storage(tmp_path)
    names = write_viewer(rs.Run(object_run).folder, target)
    assert {f"viewer/objects/{step}/{span}.{ending}" for step in ("ponds", "once", "never")
            for span in (2023, 2024) for ending in ("fgb", "json")} <= set(names)  # fmt: skip
    file = tmp_path / "viewer/objects/ponds/2023.fgb"
    content = requests.get(f"{served.url}objects/ponds/2023.fgb", timeout=30).content
    assert file.read_bytes() == content
    before = file.stat().st_mtime_ns
    assert write_viewer(rs.Run(object_run).folder, target) == names
    assert file.stat().st_mtime_ns == before
    with rs.view(tmp_path) as viewer:
        again = requests.get(f"{viewer.url}objects/ponds/2023.fgb", timeout=30)
        assert again.content == content
        gone = requests.get(f"{viewer.url}objects/other/2023.fgb", timeout=30)
        assert gone.status_code == 404


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A tab that must end without a word in its console."""
    tab = chromium.new_page(viewport=SIZE)
    problems: list[str] = []
    tab.on("console", lambda line: problems.append(line.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    yield tab
    assert problems == []
    tab.close()


def opened(tab: Any, url: str) -> str:
    """Open the page and wait until objects are drawn; what is drawn, in a word and a number."""
    tab.goto("about:blank")
    tab.goto(url)
    tab.wait_for_selector("body.painted")
    return drawn(tab)


def drawn(tab: Any) -> str:
    tab.wait_for_load_state("networkidle")
    tab.wait_for_selector("#map[data-objects]:not([data-objects=reading])")
    return str(tab.get_attribute("#map", "data-objects"))


@pytest.mark.extended
def test_shapes_are_drawn_and_a_click_tells_of_them(
    tab: Any, served: rs.Viewer, ponds: gpd.GeoDataFrame
) -> None:
    assert opened(tab, served.url) == f"shapes {len(ponds)}"
    one = ponds[ponds["cut"] & (ponds["parts"] == 1)].iloc[0]
    place = one.geometry.representative_point()
    asked = f"#x={place.x}&y={place.y}&r=2&objects=ponds&span=2024"
    assert opened(tab, served.url + asked).startswith("shapes")
    middle = (PANEL + (SIZE["width"] - PANEL) / 2, SIZE["height"] / 2)
    tab.mouse.click(*middle)
    tab.wait_for_selector("#place .object")
    said = tab.inner_text("#place .objects")
    area = f"{one['area_m2'] / 1e4:.2f} ha" if one["area_m2"] >= 1e4 else "m²"
    wanted = (one["name"], one["id"], f"{one['score']:.2f}", area, "may be larger", "ponds, 2024")
    for word in wanted:
        assert word in said
    # Its class can be hidden, and with it what a click finds.
    tab.keyboard.press("Escape")
    tab.uncheck(f"#object-class-{one['class']}")
    drawn(tab)
    tab.mouse.click(*middle)
    tab.wait_for_selector("#place #years")
    assert one["id"] not in tab.inner_text("#place")
    tab.wait_for_timeout(250)  # the address is written a moment after
    assert f"hide={one['class']}" in tab.url


@pytest.mark.extended
def test_another_step_or_none_can_be_chosen(tab: Any, served: rs.Viewer) -> None:
    opened(tab, served.url)
    tab.check("#objects-never")
    assert drawn(tab) == "shapes 0"
    assert "No objects in 2024" in tab.inner_text("#panel")
    tab.uncheck("#objects-never")
    assert drawn(tab) == "none"
    tab.wait_for_timeout(250)
    assert "objects=none" in tab.url
    assert opened(tab, tab.url) == "none"


@pytest.mark.extended
def test_many_objects_are_counts_by_cell_and_few_bytes(tab: Any, object_run: Path) -> None:
    bytes_of: Counter[str] = Counter()

    def count(answer: Any) -> None:
        if "/objects/" in answer.url:
            ending = answer.url.rpartition(".")[2]
            bytes_of[ending] += int(answer.headers.get("content-length", 0))

    tab.on("response", count)
    with rs.view(object_run) as viewer:
        many = requests.get(f"{viewer.url}objects/ponds/2024.json", timeout=30).json()
        # As if each object were a hundred.
        for level in many["levels"]:
            level["cells"] = [[c, r, *(100 * n for n in each)] for c, r, *each in level["cells"]]
        tab.route("**/objects/ponds/2024.json", lambda route: route.fulfill(json=many))
        assert opened(tab, viewer.url).startswith("cells")
        assert bytes_of["fgb"] == 0
        tab.mouse.click(PANEL + (SIZE["width"] - PANEL) / 2, SIZE["height"] / 2)
        tab.wait_for_selector("#place .objects")
        assert "Zoom in for their shapes" in tab.inner_text("#place .objects")
        tab.keyboard.press("Escape")
        for _ in range(4):  # until there are few enough
            tab.click(".ol-zoom-in")
            tab.wait_for_timeout(400)
        assert drawn(tab).startswith("shapes")
        assert 0 < bytes_of["fgb"] < 200_000


@pytest.mark.extended
def test_on_a_phone_the_card_lies_below(
    chromium: Any, served: rs.Viewer, ponds: gpd.GeoDataFrame
) -> None:
    tab = chromium.new_page(viewport={"width": 390, "height": 780})
    place = ponds.iloc[30].geometry.representative_point()
    opened(tab, f"{served.url}#x={place.x}&y={place.y}&r=2")
    box = tab.locator("#map").bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_selector("#place .object")
    card = tab.locator("#place").bounding_box()
    assert card["width"] == 390
    assert card["y"] + card["height"] == pytest.approx(780, abs=1)
    tab.close()


@pytest.mark.extended
def test_objects_without_a_map_and_their_counts(tab: Any, objects_alone: Path) -> None:
    with rs.view(objects_alone) as viewer:
        one = rs.read_objects(objects_alone, "ponds", span=2024).iloc[3]
        place = one.geometry.representative_point()
        asked = f"#x={place.x}&y={place.y}&r=4&regions=counts"
        assert opened(tab, viewer.url + asked).startswith("shapes")
        assert "No map" not in tab.inner_text("#panel")
        assert tab.locator("#opacity").count() == 0
        middle = (PANEL + (SIZE["width"] - PANEL) / 2, SIZE["height"] / 2)
        tab.mouse.click(*middle)
        tab.wait_for_selector("#place .object")
        assert one["id"] in tab.inner_text("#place .objects")
        rows = rs.Run(objects_alone).table("counts").to_pandas()
        of_2024 = rows[(rows["span"] == "2024") & (rows["zone"] != "far")].set_index(
            ["zone", "name"]
        )
        said = tab.inner_text("#place .counts")
        zone = said.partition(",")[0]
        assert f"{of_2024.loc[(zone, 'all'), 'objects']} objects" in said
        assert str(of_2024.loc[(zone, "pond"), "objects"]) in said.split("pond")[1]
