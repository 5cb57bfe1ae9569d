"""Scripts that matplotlib's own font lacks: drawn by a font that has them, else said."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.image import imread

from rsscale.pictures import fonts
from rsscale.pictures.charts import style
from rsscale.pictures.sheet import _Page

LETTERS = {
    "Made Han": "\u6c34\u4f53",
    "Made Thai": "\u0e02\u0e49\u0e32\u0e27",
    "Made Both": "\u6c34\u0916",
}


def make_font(path: Path, family: str, letters: str) -> Path:
    """A font whose every letter is a filled square."""
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", *(f"g{k}" for k in range(len(letters)))]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, letters), names[1:], strict=True)))
    pen = TTGlyphPen(None)
    for k, corner in enumerate([(0, 0), (0, 800), (800, 800), (800, 0)]):
        (pen.lineTo if k else pen.moveTo)(corner)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Fonts of the machine: none but those of matplotlib, and those put into the list."""
    files: list[Path] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in files])
    own = str(Path(font_manager.__file__).parent)
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.ttflist[:] = [e for e in before if e.fname.startswith(own)]
    fonts._families.cache_clear()
    yield files
    font_manager.fontManager.ttflist[:] = before
    fonts._families.cache_clear()


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("\u6c34\u4f53", "Made Han"),
        ("\u0e02\u0e49\u0e32\u0e27 rice", "Made Thai"),
        ("\u0916", "Made Both"),
    ],
)
def test_letters_are_drawn_by_a_font_that_has_them(
    tmp_path: Path, installed: list[Path], text: str, family: str
) -> None:
    for name, letters in LETTERS.items():
        installed.append(make_font(tmp_path / f"{name}.ttf", name, letters))
    shown, families = fonts.drawable(text)
    assert shown == text
    assert families == (fonts.FONT, family)
    assert fonts.missing_fonts([text]) == []
    for bold in (False, True):
        with style(), fonts.without_remarks():
            page = _Page(200, 80)
            weight = "bold" if bold else "normal"
            page.text(10, 60, text, 40, color="#000000", weight=weight)
            page.figure.savefig(tmp_path / "page.png", dpi=72)
        picture = imread(tmp_path / "page.png")[..., :3].max(axis=-1)
        first = picture[30:60, 12:40]
        assert (first < 0.1).mean() > 0.8  # the made letter is a filled square


def test_few_fonts_are_taken_for_letters_of_several_scripts(
    tmp_path: Path, installed: list[Path]
) -> None:
    for name, letters in LETTERS.items():
        installed.append(make_font(tmp_path / f"{name}.ttf", name, letters))
    assert fonts.drawable("\u6c34\u0916 water")[1] == (fonts.FONT, "Made Both")
    assert set(fonts.drawable("\u4f53\u0916")[1][1:]) == {"Made Both", "Made Han"}


def test_what_has_no_font_is_a_box_and_is_said(
    installed: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert installed == []
    shown, families = fonts.drawable("\u6c34 forest \u0916\u0947\u0924")
    assert shown == f"{fonts.MISSING} forest {fonts.MISSING * 3}"
    assert families == (fonts.FONT,)
    texts = ["\u6c34", "\u0e02", "\uac00", "\u3042", "caf\u00e9 \u03b1 \u0436"]
    needed = ["Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK SC", "Noto Sans Thai"]
    assert fonts.missing_fonts(texts) == needed
    with caplog.at_level(logging.WARNING):
        note = fonts.warn_of_missing(texts)
    assert note == f"boxes: {', '.join(needed)} not installed"
    assert "Noto Sans Thai" in caplog.text
    assert (
        fonts.warn_of_missing(["Z\u00fcrich \u0141\u00f3d\u017a \u0410\u0444\u0438\u043d\u0430"])
        == ""
    )


def test_latin_needs_no_other_font(installed: list[Path]) -> None:
    del installed
    assert fonts.drawable("town \u200b$a$")[1] == (fonts.FONT,)
    with style():
        page = _Page(100, 50)
        assert 30 < page.width(page.text(0, 20, "town", 20)) < 70
