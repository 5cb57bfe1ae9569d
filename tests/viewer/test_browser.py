"""The page in Chromium: what it paints and says is what the Zarr holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from formula_pass import CLASSES
from viewer_page import CENTRE, PANEL, SIZE, Page

import rsscale as rs

pytestmark = pytest.mark.extended
COLORS = {one.value: one.color for one in CLASSES}
GROUND = "#e9edf0"  # where there is no value
PLACES = [(k * 61 - 390, j * 53 - 330) for k in range(13) for j in range(13)]


@pytest.fixture(scope="module")
def served(viewed_run: Path) -> Iterator[rs.Viewer]:
    with rs.view(viewed_run) as viewer:
        yield viewer


@pytest.fixture
def page(chromium: Any, served: rs.Viewer) -> Iterator[Page]:
    """A tab that must end without a word in its console, and without a foreign host."""
    page = Page(chromium, served.url)
    yield page
    host = urlsplit(served.url).netloc
    assert page.problems == []
    assert {urlsplit(url).netloc for url in page.requests if url.startswith("http")} <= {host}
    page.tab.close()


def at(resolution: float, **more: Any) -> str:
    asked = {"x": CENTRE[0], "y": CENTRE[1], "r": resolution, **more}
    return "&".join(f"{name}={value}" for name, value in asked.items())


def expected(run: Path, year: int, resolution: float, level: int) -> dict[tuple[int, int], int]:
    """Classes at places of the screen, of a level of the Zarr."""
    layer = rs.Run(run).open(level=level).classification.isel(time=year - 2023)
    found = {}
    for right, down in PLACES:
        x, y = CENTRE[0] + (right + 0.5) * resolution, CENTRE[1] - (down + 0.5) * resolution
        value = layer.sel(x=x, y=y, method="nearest")
        inside = abs(float(value.x) - x) <= 10 * 2**level / 2
        inside &= abs(float(value.y) - y) <= 10 * 2**level / 2
        found[right, down] = int(value) if inside else 255
    return found


def assert_painted(picture: np.ndarray, classes: dict[tuple[int, int], int]) -> None:
    """Colours of the places are those of the classes, but for what lies over the map."""
    height, width = picture.shape[:2]
    wrong = []
    for (right, down), value in classes.items():
        found = "#{:02x}{:02x}{:02x}".format(*picture[height // 2 + down, width // 2 + right])
        if found != COLORS.get(value, GROUND):
            wrong.append(((right, down), value, found))
    # The outline of the area, and the buttons for zooming, lie over a few places.
    assert len(wrong) <= 0.03 * len(classes), wrong
    assert len(set(classes.values())) >= len(CLASSES)


@pytest.mark.parametrize(
    ("resolution", "level"),
    [
        (5.0, 0),
        (20.0, 1),
        (10.0, 0),
        (40.0, 2),
    ],
)
def test_the_map_is_painted_as_the_zarr_has_it(
    page: Page, viewed_run: Path, resolution: float, level: int
) -> None:
    """At full resolution, and from levels whose corners lie elsewhere than that of level 0."""
    page.open(at(resolution, span=2023))
    assert_painted(page.picture(), expected(viewed_run, 2023, resolution, level))


def test_the_slider_shows_another_year(page: Page, viewed_run: Path) -> None:
    page.open(at(10))
    assert page.state()["span"] == "2024"
    assert_painted(page.picture(), expected(viewed_run, 2024, 10, 0))
    page.tab.focus("#span")
    page.tab.keyboard.press("ArrowLeft")
    page.settled()
    assert page.state()["span"] == "2023"
    assert page.tab.text_content("label[for=span] output") == "2023"
    assert page.tab.text_content("#legend p") == "Areas with their 95 % intervals: 2024."
    assert_painted(page.picture(), expected(viewed_run, 2023, 10, 0))


def test_the_line_between_two_years_moves(page: Page, viewed_run: Path) -> None:
    page.open(at(10))
    page.tab.select_option("#with", "map/classification")
    page.settled()
    assert page.tab.text_content("#label-a").startswith("2023")
    assert page.tab.text_content("#label-b").startswith("2024")
    before, after = (expected(viewed_run, year, 10, 0) for year in (2023, 2024))
    for swipe, step in ((50, None), (54, "ArrowRight")):
        for _ in range(8 if step else 0):
            page.tab.focus("#swipe")
            page.tab.keyboard.press(step)
        page.settled()
        assert float(page.state()["swipe"]) == swipe
        edge = (SIZE["width"] - PANEL - 44) * (swipe / 100 - 0.5)
        sides = {
            place: before[place] if place[0] < edge else after[place]
            for place in before
            if abs(place[0] - edge) > 26 and place[1] > -320  # beside the handle, below the labels
        }
        assert_painted(page.picture(), sides)


def test_a_click_tells_what_the_zarr_holds(page: Page, viewed_run: Path) -> None:
    ds = rs.Run(viewed_run).open()
    names = {one.value: one.name for one in CLASSES}
    page.open(at(5))
    for x, y in ((735_505, 4_984_505), (734_005, 4_982_995), (737_255, 4_983_715)):
        page.click(x, y, 5)
        rows = page.tab.locator("#years tbody tr").all_inner_texts()
        pixel = ds.sel(x=x, y=y, method="nearest").load()
        for row, year in zip(rows, (0, 1), strict=True):
            cells = row.split("\t")
            value = int(pixel.classification[year])
            assert cells[0] == str(2023 + year)
            assert cells[1].strip() == names.get(value, "no value")
            if value != 255:
                assert cells[2] == f"{int(pixel.confidence[year])} %"
                assert float(cells[3]) == pytest.approx(
                    float(pixel.temperature[year]), rel=0.01, abs=0.01
                )
        percent = [int(p) for p in pixel.probability[1].values]
        if int(pixel.classification[1]) != 255:
            bars = page.tab.locator("#probabilities li .number").all_inner_texts()
            assert bars == [f"{p} %" for p in sorted(percent, reverse=True) if p > 0]
    assert page.state()["at"] == "737255,4983715"
    assert "Ölberg, mapped 2024" in page.tab.text_content("#place")


def test_the_map_stays_painted_beside_the_panel_of_a_place(page: Page) -> None:
    """Below the panel too, where Chromium once left it out."""
    page.open(at(5))
    before = page.picture()
    page.click(734_005, 4_982_995, 5)
    panel = page.tab.locator("#place").bounding_box()
    below, bottom = int(panel["y"] + panel["height"]) + 20, SIZE["height"] - 60  # the scale's line
    assert below < bottom - 40
    right = np.s_[below:bottom, int(panel["x"]) - PANEL + 4 :]
    assert len(np.unique(before[right].reshape(-1, 3), axis=0)) > 1
    np.testing.assert_array_equal(page.picture()[right], before[right])


def test_classes_are_hidden_and_shown(page: Page, viewed_run: Path) -> None:
    page.open(at(10))
    classes = expected(viewed_run, 2024, 10, 0)
    page.tab.uncheck("#class-4")
    page.settled()
    assert page.state()["off"] == "4"
    hidden = {place: 255 if value == 4 else value for place, value in classes.items()}
    picture = page.picture()
    yellow = tuple(int(COLORS[4][k : k + 2], 16) for k in (1, 3, 5))
    assert not (picture[50:-50, 60:] == yellow).all(axis=-1).any()
    assert any(hidden[place] != classes[place] for place in classes)
    page.tab.click("#all")
    page.settled()
    assert_painted(page.picture(), classes)


def test_a_link_opens_the_same_view(page: Page, chromium: Any, served: rs.Viewer) -> None:
    page.open(at(10, off="4", opacity=60, regions="communes", sample=1))
    page.tab.select_option("#with", "map/confidence")
    page.click(735_505, 4_984_505, 10)
    page.tab.mouse.wheel(0, -200)
    page.tab.wait_for_url(lambda url: "&r=10&" not in url)  # the address follows the zoom
    page.tab.mouse.move(10, 10)  # away from the map, which else says where the pointer is
    page.settled()
    state, link, picture = page.state(), page.tab.url, page.picture()
    assert {"off": "4", "opacity": "60", "with": "map/confidence"}.items() <= state.items()
    other = Page(chromium, served.url).open(link.split("#")[1])
    assert other.state() == state
    for _ in range(20):  # a loaded machine paints the last tiles a moment later
        if np.array_equal(other.picture(), picture):
            break
        other.tab.wait_for_timeout(250)
    np.testing.assert_array_equal(other.picture(), picture)
    other.tab.close()


def test_other_layers_have_their_ramp(page: Page) -> None:
    page.open(at(10))
    for layer, low in (("map/confidence", "0 %"), ("map/temperature", None), ("map/index", None)):
        page.tab.select_option("#layer", layer)
        page.settled()
        ends = page.tab.locator("#legend figcaption span").all_inner_texts()
        assert low in (None, ends[0])
        assert len(np.unique(page.picture().reshape(-1, 3), axis=0)) > 100
    page.tab.select_option("#layer", "map/probability")
    page.settled()
    assert page.tab.locator("#axis option").all_inner_texts() == [one.name for one in CLASSES]
    first = page.picture()
    page.tab.select_option("#axis", "9")
    page.settled()
    assert (first != page.picture()).any()


def test_areas_regions_and_the_sample(page: Page) -> None:
    page.open(at(10, sample=1))
    assert page.tab.text_content("#legend li:first-child .area") == "900 ha ± 40 ha"
    assert page.tab.text_content("#legend li:nth-child(2) .area") == "900 ha (880 to 1,400)"
    assert page.tab.text_content("#legend li:nth-child(4) .area") == "1,000 ha mapped"
    assert "12 of the area's 4,012 ha (0.3%) had no class" in page.tab.text_content("#legend")
    picture = page.picture()
    height, width = picture.shape[:2]
    # The second unit, at which map and reference differ.
    right, down = width / 2 + (736_505 - CENTRE[0]) / 10, height / 2 - (4_984_505 - CENTRE[1]) / 10
    assert tuple(picture[int(down), int(right)]) == (0xD5, 0x5E, 0x00)
    page.click(736_505, 4_984_505, 10)
    said = page.tab.text_content("#place .sample")
    assert "Sample unit 2" in said
    assert "map: crops; reference: water (they differ)" in said


def test_on_a_phone(chromium: Any, served: rs.Viewer) -> None:
    page = Page(chromium, served.url, width=390, height=780).open()
    assert page.tab.is_hidden("#panel")
    page.tab.click("#toggle")
    assert page.tab.is_visible("#panel")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.tab.get_attribute("#toggle", "aria-expanded") == "true"
    assert page.problems == []
    page.tab.close()


def test_all_is_reached_by_the_keyboard(page: Page) -> None:
    page.open(at(10, **{"with": "map/confidence"}))
    reached = set()
    for _ in range(40):
        page.tab.keyboard.press("Tab")
        reached.add(page.tab.evaluate("document.activeElement.id"))
    wanted = {"layer", "span", "opacity", "class-1", "with", "sample", "map", "swipe"}
    assert wanted <= reached
    page.tab.focus("#map")
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_selector("#place #years")
    page.tab.keyboard.press("Escape")
    assert page.tab.is_hidden("#place")
    unnamed = page.tab.evaluate(
        "[...document.querySelectorAll('input, select, button')]"
        ".filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim() && !e.title)"
        ".map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_a_store_that_is_gone_is_told_in_a_line(
    chromium: Any, viewed_run: Path, tmp_path: Path
) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(viewed_run, run)
    with rs.view(run) as viewer:
        shutil.rmtree(run / "product.zarr")
        page = Page(chromium, viewer.url)
        page.tab.goto(viewer.url)
        page.tab.wait_for_selector("#message:not([hidden])")
        said = page.tab.text_content("#message")
        page.tab.close()
    assert said == "product.zarr can't be read; verify the run, or publish it again"


def test_the_page_works_from_a_static_host(chromium: Any, viewed_run: Path, tmp_path: Path) -> None:
    import shutil

    from rsscale.store.run_folder import RunFolder
    from rsscale.store.storage import open_storage
    from rsscale.viewer.static import write_viewer

    shutil.copytree(viewed_run / "product.zarr", tmp_path / "product.zarr")
    write_viewer(RunFolder.at(viewed_run), open_storage(tmp_path))
    with rs.view(tmp_path) as viewer:
        page = Page(chromium, viewer.url).open(at(10, span=2023))
        assert_painted(page.picture(), expected(viewed_run, 2023, 10, 0))
        assert page.problems == []
        page.tab.close()
