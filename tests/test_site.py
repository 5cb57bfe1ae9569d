"""The documentation site builds without a warning, needs no network, and has every page."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rsscale

ROOT = Path(__file__).resolve().parents[1]
# What a page loads by itself: other addresses are links for people.
_LOADED = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]+)"|<link[^>]*\shref="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        ["bash", ROOT / ".ci/docs", folder], capture_output=True, text=True, check=False
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


@pytest.mark.extended
def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    sources = {p.relative_to(ROOT / "docs").with_suffix("") for p in (ROOT / "docs").rglob("*.md")}
    for source in sources:
        html = (site / source).with_suffix(".html").read_text("utf-8")
        loaded = [one or other for one, other in _LOADED.findall(html)]
        assert loaded
        assert [address for address in loaded if "://" in address] == [], source


@pytest.mark.extended
def test_the_reference_has_every_public_name_key_and_command(site: Path) -> None:
    api = "".join(p.read_text("utf-8") for p in (site / "reference/api").glob("*.html"))
    assert [n for n in rsscale.__all__ if f'id="rsscale.{n}"' not in api] == []
    recipe = (site / "reference/recipe.html").read_text("utf-8")
    assert all(f'<span class="pre">{key}</span>' in recipe for key in ("dilate", "conformal"))
    commands = (site / "reference/commands.html").read_text("utf-8")
    assert all(
        f'id="rsscale-{name}"' in commands for name in ("run", "model-check", "recipe-schema")
    )


def test_tables_of_the_reference_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs/_extensions")
    tables = importlib.import_module("reference_tables")
    stale = [
        page
        for page, lines in tables.PAGES.items()
        if tables.renewed(page, lines) != (ROOT / "docs/reference" / page).read_text("utf-8")
    ]
    assert stale == [], "keys, options or docstrings have changed; run .ci/reference"
    assert "| `dilate` | number" in (ROOT / "docs/reference/recipe.md").read_text("utf-8")


@pytest.mark.extended
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# A\n\n[there](nowhere.md)\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", ROOT / "docs", tmp_path,
               tmp_path / "out"]  # fmt: skip
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert build.returncode != 0
    assert "nowhere.md" in build.stderr
