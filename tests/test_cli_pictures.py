"""``rsscale quicklook`` draws what a run holds, whichever steps it has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from formula_pass import SMALL, allowed, formula_recipe

import rsscale as rs
from rsscale.cli import main

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
