"""``rsscale quicklook`` draws what a run holds, whichever steps it has."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from formula_pass import SMALL, allowed, formula_recipe

import rsscale as rs
from rsscale.cli import main
from rsscale.store.run_folder import RunFolder
from rsscale.viewer.layer_entries import layer_entries

SETTINGS: dict[str, Any] = {"threads": 1, "device": "cpu"}
MAP = {"layers": ["classification", "confidence"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A run with a map and its change, and one whose map lies in the first."""
    folder = tmp_path_factory.mktemp("runs")
    change = {"kind": "post-classification", "from": 2022, "to": 2023}
    common = {"tile": 256, "periods": [2022, 2023], "shape": SMALL}
    with allowed():
        whole = formula_recipe(
            folder, options=MAP, steps={"change": {**change, "of": "map"}}, **common
        )
        rs.run(whole, folder / "whole", **SETTINGS)
        elsewhere = {"run": str(folder / "whole"), "step": "map"}
        part = formula_recipe(folder, steps={"change": {**change, "of": elsewhere}}, **common)
        del part["steps"]["map"]
        rs.run(part, folder / "part", **SETTINGS)
        yield {"whole": folder / "whole", "part": folder / "part"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("whole", ()),
        ("whole", ("--layer", "confidence")),
        ("whole", ("--step", "change", "--layer", "from")),
        ("part", ()),
        ("part", ("--layer", "to")),
    ],
)
def test_a_picture_of_what_a_run_holds(
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: tuple[str, ...],
) -> None:
    picture = tmp_path / "picture.png"
    with pytest.raises(SystemExit) as ended:
        main(["quicklook", str(runs[name]), "--out", str(picture), *words])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    assert out.strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_a_layer_lies_beside_that_of_the_maps(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(runs["whole"], tmp_path / "run")
    for words in ((), ("--layer", "confidence"), ("--step", "change", "--layer", "from")):
        with pytest.raises(SystemExit):
            main(["quicklook", str(run), *words])
    said = [Path(line).name for line in capsys.readouterr().out.split()]
    assert said == ["quicklook.png", "quicklook-confidence.png", "quicklook-change-from.png"]
    assert all((run / name).exists() for name in said)


def test_layers_of_a_viewer_are_told_apart_by_their_titles(runs: dict[str, Path]) -> None:
    folder = RunFolder.at(runs["whole"])
    state = folder.read_state()
    titles = [entry["title"] for entry in layer_entries(folder.storage, state)]
    assert len(set(titles)) == len(titles)
    # A second step with the same layer: a copy of the map's.
    steps = state["steps"] | {"again": state["steps"]["map"] | {"store": "again"}}
    shutil.copytree(runs["whole"] / "product.zarr", runs["whole"] / "again.zarr")
    entries = layer_entries(folder.storage, state | {"steps": steps, "order": [*steps]})
    by_step = {e["step"]: e["title"] for e in entries if e["name"] == "classification"}
    assert by_step == {"map": "Classification", "again": "Classification (again)"}
