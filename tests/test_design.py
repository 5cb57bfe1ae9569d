"""docs/design.md and the code agree: rooms, their order and size, and the pass that it shows."""

import re
import tomllib
from pathlib import Path

import grimp
import numpy as np
import pytest
import xarray as xr
import yaml
from formula_pass import formula_recipe

import rsscale as rs
from rsscale.cli import main

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rsscale"
DESIGN = (ROOT / "docs" / "design.md").read_text("utf-8")
MOST_MODULES = 12
MOST_SHARE = 0.15


def drawn() -> list[set[str]]:
    """The rooms of the drawing, layer by layer from the top."""
    block = DESIGN.split("<!-- rooms -->\n```text\n")[1].split("```")[0]
    heads = [re.split(r"\s{3,}", line)[0] for line in block.splitlines() if line.strip()]
    return [set(head.split()) for head in heads]


def modules(room: Path) -> list[Path]:
    return [path for path in room.glob("*.py") if path.name != "__init__.py"]


def rooms() -> dict[str, int]:
    """Lines of each folder, and of each module that stands alone."""
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and modules(path)]
    alone = [p for p in modules(PACKAGE) if not p.name.startswith("__")]
    lines = {f.name: sum(len(p.read_text().splitlines()) for p in modules(f)) for f in folders}
    return lines | {path.stem: len(path.read_text().splitlines()) for path in alone}


def test_the_drawing_has_just_the_rooms_that_there_are() -> None:
    assert set().union(*drawn()) == set(rooms())


def test_the_drawing_has_the_layers_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    layers = [
        {name.strip().removeprefix("rsscale.") for name in layer.split("|")}
        for layer in contract["layers"]
    ]
    assert layers == drawn()


def test_no_room_is_a_warehouse() -> None:
    sizes = rooms()
    crowded = {
        path.name: len(modules(path))
        for path in PACKAGE.iterdir()
        if path.is_dir() and len(modules(path)) > MOST_MODULES
    }
    assert crowded == {}
    total = sum(sizes.values())
    assert {name: n for name, n in sizes.items() if n > MOST_SHARE * total} == {}


def test_nothing_imports_in_a_circle() -> None:
    """Imports for types count too."""
    graph = grimp.build_graph("rsscale", include_external_packages=False, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    packages = {name for name in graph.modules if graph.find_children(name)}
    imports = {name: found - packages for name, found in imports.items() if name not in packages}
    while leaves := [name for name, found in imports.items() if not found]:
        for name in leaves:
            del imports[name]
        imports = {name: found - set(leaves) for name, found in imports.items()}
    assert imports == {}


def test_every_file_that_the_page_names_is_there() -> None:
    section = DESIGN.split("## Where does a new")[1].split("## What is kept")[0]
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", section))
    assert len(named) > 10
    assert {name for name in named if not (PACKAGE / name).exists()} == set()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of the page's pass, in a folder of its own."""
    folder = tmp_path_factory.mktemp("page")
    speckle, counts = (part.split("```")[0] for part in DESIGN.split("```python\n")[1:3])
    (folder / "speckle.py").write_text(speckle)
    (folder / "counts.py").write_text(f"{speckle}\n\n{counts}")
    return folder


@pytest.mark.slow
def test_the_pass_of_the_page_runs_as_the_page_says(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = yaml.safe_load(DESIGN.split("```yaml\n")[1].split("```")[0])["steps"]
    steps["counts"] = {"kind": "counts:CountPass", "of": "map"}
    recipe = formula_recipe(tmp_path, tile=384, steps=steps)
    (tmp_path / "with.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.syspath_prepend(page)
    command = ["--quiet", "run", str(tmp_path / "with.yaml"), "--out", str(tmp_path / "run"),
               "--device", "cpu", "--threads", "1"]  # fmt: skip
    monkeypatch.setenv("RSSCALE_PASSES", "formula_pass")
    with pytest.raises(SystemExit) as refused:
        main(command)
    assert refused.value.code == 2
    assert "set RSSCALE_PASSES=formula_pass," in capsys.readouterr().err
    monkeypatch.setenv("RSSCALE_PASSES", "formula_pass,speckle,counts")
    with pytest.raises(SystemExit) as done:
        main(command)
    assert not done.value.code, capsys.readouterr().err
    classes = rs.Run(tmp_path / "run").open().classification.values[0]
    found = xr.open_zarr(tmp_path / "run/speckle.zarr").speckle.values[0]
    np.testing.assert_array_equal(found, speckles(classes, least=6))
    assert {0, 1, 255} == set(np.unique(found))
    assert f"speckle  {(found == 1).sum()} speckles" in rs.Run(tmp_path / "run").summary()
    table = rs.Run(tmp_path / "run").table("counts").to_pydict()
    counted = dict(zip(table["class"], table["pixels"], strict=True))
    values, pixels = np.unique(classes[classes != 255], return_counts=True)
    assert {v: n for v, n in counted.items() if v != 255} == dict(zip(values, pixels, strict=True))


def speckles(classes: np.ndarray, least: int) -> np.ndarray:
    """The same over the whole map at once."""
    padded = np.pad(classes, 1, constant_values=255)
    height, width = classes.shape
    others = sum(
        ((part := padded[r : r + height, c : c + width]) != classes) & (part != 255)
        for r in range(3)
        for c in range(3)
    )
    return np.where(classes == 255, 255, others >= least).astype(np.uint8)
