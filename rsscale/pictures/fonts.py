"""Fonts of the machine for scripts that matplotlib's own font lacks: Chinese, Devanagari, Thai."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

_log = logging.getLogger(__name__)

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a picture is the same everywhere; asked first for every letter."""
MISSING = "\u25a1"
"""A box, where no font of the machine has a letter."""
# Letters without a shape of their own.
_SHAPELESS = {"Cc", "Cf", "Zs", "Zl", "Zp"}
_PLAIN = ("Noto Sans", "Noto", "Source Han Sans", "WenQuanYi", "Droid Sans")
_SCRIPTS = {"CJK": "CJK SC", "HIRAGANA": "CJK JP", "KATAKANA": "CJK JP", "HANGUL": "CJK KR"}


def drawable(text: str) -> tuple[str, tuple[str, ...]]:
    """A text with boxes for letters that no font has, and the families that draw it, in order."""
    lacking = _lacking(text)
    if not lacking:
        return text, (FONT,)
    families, nowhere = _families(lacking)
    return "".join(MISSING if c in nowhere else c for c in text), (FONT, *families)


def missing_fonts(texts: Iterable[str]) -> list[str]:
    """Fonts to install for letters that no font of the machine has, such as Noto Sans Thai."""
    lacking = _lacking("".join(texts))
    nowhere = _families(lacking)[1] if lacking else frozenset()
    return sorted({f"Noto Sans {_script(letter)}" for letter in nowhere})


def warn_of_missing(texts: Iterable[str]) -> str:
    """Log which fonts are missing; the same in a few words, or nothing."""
    fonts = missing_fonts(texts)
    if not fonts:
        return ""
    _log.warning(
        "no font of this machine has all letters of the picture, which shows boxes for them; "
        "install %s, or another font of that script",
        ", ".join(fonts),
    )
    return f"boxes: {', '.join(fonts)} not installed"


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep matplotlib from remarking that a font has no bold face: its plain one is drawn."""
    remarks = logging.getLogger("matplotlib.font_manager")
    level = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        yield
    finally:
        remarks.setLevel(level)


def _lacking(text: str) -> frozenset[str]:
    """Letters that the first font does not have."""
    own = _letters(_own_file())
    return frozenset(
        c for c in text if ord(c) not in own and unicodedata.category(c) not in _SHAPELESS
    )


@lru_cache(maxsize=64)
def _families(lacking: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that have letters, few of them; and letters that none has."""
    codes, chosen = {ord(c) for c in lacking}, []
    has = [(name, codes & _letters(path)) for name, path in _installed()]
    while codes:
        name, covered = max(has, key=lambda family: len(family[1] & codes), default=("", set()))
        if not covered & codes:
            break
        chosen.append(name)
        codes -= covered
    return tuple(chosen), frozenset(map(chr, codes))


def _installed() -> Iterator[tuple[str, str]]:
    """Family and file of the upright fonts of the machine, plain ones first."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    for path in findSystemFonts():  # installed since matplotlib last looked
        if path not in known:
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError, ValueError):
                _log.debug("not a font that can be read: %s", path)
    # Matplotlib's font of last resort has every letter: as a box.
    entries = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal" and not entry.name.startswith("Last Resort")
    ]

    def order(entry: object) -> tuple[int, int, str]:
        name, weight = str(getattr(entry, "name", "")), getattr(entry, "weight", 400)
        plain = next((k for k, start in enumerate(_PLAIN) if name.startswith(start)), len(_PLAIN))
        return plain, abs(weight - 400) if isinstance(weight, int) else 0, name

    for entry in sorted(entries, key=order):
        yield entry.name, entry.fname


@lru_cache(maxsize=512)
def _letters(path: str) -> frozenset[int]:
    """Code points that a font has."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _own_file() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties(family=FONT)))


def _script(letter: str) -> str:
    word = unicodedata.name(letter, "SYMBOLS").split()[0]
    return _SCRIPTS.get(word, word.capitalize())
