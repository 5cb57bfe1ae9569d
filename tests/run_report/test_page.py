"""Colours that can be read, and texts without anything of the machine that wrote them."""

import re
from pathlib import Path

import numpy as np
import pytest

import rsscale.run_report
from rsscale.run_report.figures import Figure, hectares, number, percent, seconds, size
from rsscale.run_report.page import cell, contrast, render
from rsscale.text.redaction import hide_local_paths

CSS = (Path(rsscale.run_report.__file__).parent / "templates" / "report.css").read_text("utf-8")
TEMPLATES = Path(rsscale.run_report.__file__).parent / "templates"


def test_contrast_is_that_of_the_guideline() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WCAG's known near miss
    assert contrast("#ff0000", "#ffffff") == pytest.approx(4.0, abs=0.01)


def test_all_text_has_the_contrast_of_level_aa() -> None:
    colors = dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", CSS))
    texts = set(re.findall(r"(?<![-\w])color:var\(--(\w+)\)", CSS))
    papers = set(re.findall(r"background:var\(--(\w+)\)", CSS))
    assert {"ink", "muted", "link", "good", "bad"} <= texts
    for text in texts:
        for paper in papers:
            assert contrast(colors[text], colors[paper]) >= 4.5
    for shade in np.linspace(-0.1, 1.1, 121):
        paper, ink = re.findall(r"#[0-9a-f]{6}", cell(float(shade)))
        assert contrast(ink, paper) >= 4.5
    # No other colour of a text is written anywhere.
    for path in TEMPLATES.glob("*.html"):
        assert not re.findall(r"[\"; ]color:", path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("labels: /home/me/maps/labels.gpkg", "labels: …/labels.gpkg"),
        ("'/data/x/y' and /a/b, 'c'", "'…/y' and …/b, 'c'"),
        ("~/maps/a.tif", "…/a.tif"),
        ("file:///home/me/a.tif", "…/a.tif"),
        (r"C:\Users\me\a.tif", "…/a.tif"),
        ("archive/labels.gpkg, 3 px/s, 1/2, and/or", "archive/labels.gpkg, 3 px/s, 1/2, and/or"),
        ("https://host/path/to/file.tif", "https://host/path/to/file.tif"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("(/tmp/run/map.tif)", "(…/map.tif)"),
    ],
)
def test_paths_of_the_machine_lose_their_folders(text: str, shown: str) -> None:
    assert hide_local_paths(text) == shown


def test_figures_have_the_digits_that_are_seen() -> None:
    assert [hectares(v) for v in (1234567.8, 100, 99.94, 0.0123, 0, None)] == [
        "1,234,568", "100", "99.9", "0.012", "0", "\u2013",
    ]  # fmt: skip
    assert [percent(v) for v in (0.12345, 0.0001, 0, 1, None)] == [
        "12.3 %", "<0.1 %", "0.0 %", "100.0 %", "\u2013",
    ]  # fmt: skip
    assert [seconds(v) for v in (1.234, 75, 7384)] == ["1.23 s", "1 min 15 s", "2 h 3 min"]
    assert [size(v) for v in (100, 2**31)] == ["100 B", "2 GiB"]
    assert [number(v) for v in ("nan", True, float("inf"), None, 3)] == [None] * 4 + [3.0]
    assert Figure.of({"value": None, "why": "x"}) == Figure(why="x")
    assert Figure.within(0.5, [0.4, 0.7]) == Figure(0.5, 0.4, 0.7)
    assert Figure.within(0.5, None) == Figure(0.5)


def test_a_page_of_nothing_known_is_refused_by_name() -> None:
    with pytest.raises(Exception, match="is undefined"):
        render({})
