"""The app in the package is built from its sources as they are, and says whose code it holds."""

import hashlib
import json
import re
from pathlib import Path

import rsscale

VIEWER = Path(rsscale.__file__).parent / "viewer"
APP, STATIC = VIEWER / "app", VIEWER / "static"


def digest(names: list[str], folder: Path) -> str:
    """As build.mjs has it."""
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\n".encode())
        total.update((folder / name).read_bytes())
    return total.hexdigest()


def test_the_bundle_is_built_from_the_sources() -> None:
    sources = sorted(p.relative_to(APP).as_posix() for p in APP.rglob("*") if p.is_file())
    sources = [name for name in sources if "node_modules" not in name]
    files = sorted(p.name for p in STATIC.iterdir() if p.name != "build.json")
    built = json.loads((STATIC / "build.json").read_text())
    assert files == ["index.html", "licences.txt", "viewer.css", "viewer.js"]
    remedy = "run .ci/viewer and commit rsscale/viewer/static"
    assert built["sources"] == digest(sources, APP), remedy
    assert built["files"] == digest(files, STATIC), remedy


def test_the_lock_names_no_registry_and_every_licence_is_there() -> None:
    lock = json.loads((APP / "package-lock.json").read_text())["packages"]
    assert not any("resolved" in package for package in lock.values())
    assert all("integrity" in package for name, package in lock.items() if name)
    licences = (STATIC / "licences.txt").read_text()
    named = dict(re.findall(r"^(@?[\w./-]+) [\w.-]+ \((.+)\)$", licences, re.MULTILINE))
    assert {"ol", "zarrita", "proj4", "fzstd", "flatgeobuf"} <= set(named)
    assert set(named.values()) <= {"MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0"}


def test_the_bundle_is_small_and_asks_no_other_host() -> None:
    script = (STATIC / "viewer.js").read_text()
    assert len(script) < 1_000_000
    # Addresses in it are names: of XML namespaces, specifications, projections.
    for call in ("importScripts(", "new WebSocket(", "navigator.sendBeacon("):
        assert call not in script
    for name in ("index.html", "viewer.css"):
        text = (STATIC / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
