"""A pass that can't work is refused when it is opened, in one line with the step's name."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from index_pass import IndexPass, index_recipe

import rsscale as rs
from rsscale.errors import RecipeError, TilesFailedError
from rsscale.layers import Layer
from rsscale.plans.planning import open_recipe
from rsscale.recipe import read_recipe
from rsscale.steps.base import Gather, Result
from rsscale.steps.evaluate import MISTAKES, failure_of
from rsscale.store.run_folder import RunFolder

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
ROWS = pa.schema([("pixels", pa.int64())])


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "index_pass,broken_module,test_opening")


@dataclass(repr=False, kw_only=True)
class Total(Gather):
    """Folds nothing."""

    kind: ClassVar[str] = "test_opening:Total"
    version: ClassVar[str] = "1"
    step: str
    of: str
    schema: Any = ROWS

    def fold(self, parts: Any) -> pa.Table:
        raise NotImplementedError


def opened(folder: Path, **steps: Any) -> Any:
    recipe = read_recipe(index_recipe(folder, steps=steps))
    return open_recipe(recipe, RunFolder.at(folder / "run"))[1]


def refused(folder: Path, said: str, **steps: Any) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        opened(folder, **steps)
    assert "\n" not in str(caught.value)


def as_open(give: Any) -> Any:
    return classmethod(lambda cls, step, recipe, _, setup: give(cls, step, recipe, setup))


def own(cls: Any, step: str) -> Any:
    return cls(step=step, periods=("2023",))


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda cls, step, *_: own(cls, step), "gave IndexPass; expected a list of steps"),
        (lambda *_: None, "gave NoneType; expected a list of steps"),
        (lambda *_: [], "gave no step; expected"),
        (lambda cls, *_: [cls], "gave a list with ABCMeta; expected"),
        (lambda *_: {}["s7"], "index_pass:IndexPass can't be opened: KeyError: 's7'"),
        (lambda *_: next(iter(())), "can't be opened: StopIteration"),
        (lambda _, __, recipe, ___: list(recipe.references.values())[0:1][0], "it has no 'of'"),
        (
            lambda _, __, ___, setup: setup.source("s7"),
            "steps.map: there is no input or earlier step 's7'; there are none",
        ),
        (
            lambda cls, step, *_: [own(cls, step), Total(step="sum", of="maps")],
            "Total folds the rows of 'maps', .*those that do are none",
        ),
        (
            lambda cls, step, *_: [own(cls, step), Total(step="sum", of="map")],
            "Total folds the rows of 'map', and no step before it writes rows",
        ),
    ],
)
def test_what_open_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, give: Any, said: str
) -> None:
    monkeypatch.setattr(IndexPass, "open", as_open(give))
    refused(tmp_path, f"^steps.map: .*{said}|^{said}")


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("layers", Layer("a"), r"layers of IndexPass are Layer\(.*expected a tuple of Layer"),
        ("layers", ("classification",), r"layers of IndexPass are \('classification',\)"),
        ("layers", None, "layers of IndexPass are None"),
        ("sources", ["map"], r"sources of IndexPass are \['map'\]; expected a mapping"),
        ("sources", "map", "sources of IndexPass are 'map'; expected a mapping"),
        ("sources", {"map": "map"}, "the source 'map' of IndexPass is 'map'; expected what"),
        ("facts", ["trees"], r"facts of IndexPass are \['trees'\]; expected a mapping"),
        ("halo", 1.5, "its halo is 1.5; expected a whole number of pixels, 0 or more"),
        ("halo", -1, "its halo is -1; expected a whole number"),
        ("halo", "2", "its halo is '2'; expected a whole number"),
        ("periods", "2023", r"spans of IndexPass are '2023'; expected a list"),
        ("periods", (2023,), r"spans of IndexPass are \(2023,\); expected a list"),
        ("periods", (), r"spans of IndexPass are \(\); expected a list"),
        ("periods", ("summer",), r"spans of IndexPass are \('summer',\); expected a list"),
    ],
)
def test_what_a_pass_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, said: str
) -> None:
    def give(cls: Any, step: str, *_: Any) -> Any:
        made = own(cls, step)
        setattr(made, attribute, value)
        return [made]

    monkeypatch.setattr(IndexPass, "open", as_open(give))
    refused(tmp_path, f"^steps.map: {said}")


def test_a_halo_of_numpy_is_a_whole_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IndexPass, "halo", np.int64(2))
    assert [step.step for step in opened(tmp_path)] == ["map"]


def test_options_that_are_not_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"kind": "index_pass:IndexPass", "least": 3, "size": 1}
    refused(tmp_path, "steps.a: IndexPass declares no Options, and so takes no 'least', 's", a=step)
    monkeypatch.setattr(IndexPass, "Options", dict)
    refused(tmp_path, "Options of IndexPass is <class 'dict'>; expected a subclass of", a=step)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Broken(:", r"SyntaxError: invalid syntax \(broken_module.py, line 1\)"),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("x = 1", "has no attribute 'Broken'"),
    ],
)
def test_a_module_that_can_not_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "broken_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    step = {"kind": "broken_module:Broken"}
    refused(tmp_path, f"steps.b: broken_module:Broken can't be imported: .*{said}", b=step)
    sys.modules.pop("broken_module", None)


@pytest.mark.parametrize(
    ("raising", "said"),
    [
        (lambda: {}["s7"], r"KeyError: 's7' \(test_opening.py, line \d+\)$"),
        (lambda: Layer.parse({}), r"KeyError: 'axis' \(test_opening.py, line \d+, by layers.py, "),
        (lambda: RecipeError(1) + 1, r"TypeError: unsupported operand"),
        (lambda: undefined, r"NameError: name 'undefined'"),  # type: ignore[name-defined] # noqa: F821
    ],
)
def test_what_a_step_raises_names_type_and_line(raising: Any, said: str) -> None:
    step = Total(step="sum", of="rows")
    with pytest.raises(MISTAKES) as caught:
        raising()
    assert re.match(rf"step 'sum' failed: {said}", str(failure_of(step, caught.value)))


def test_a_fold_that_raises_names_type_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(cls: Any, step: str, *_: Any) -> Any:
        rows = own(cls, step)
        rows.layers, rows.schema = (), ROWS
        return [rows, Total(step="sum", of=step)]

    def run(*_: Any) -> Result:
        return Result(table=pa.table({"pixels": [1]}).cast(ROWS))

    def fold(_: Any, parts: Any) -> pa.Table:
        return pa.concat_tables([table for _, table in parts]).rename_columns(["a", "b"])

    monkeypatch.setattr(IndexPass, "open", as_open(give))
    monkeypatch.setattr(IndexPass, "run", run)
    monkeypatch.setattr(Total, "fold", fold)
    with pytest.raises(
        TilesFailedError, match=r"step 'sum' failed: \w+: .* \(test_opening.py, line \d+, by "
    ):
        rs.run(index_recipe(tmp_path, tile=512), tmp_path / "run", **OPTIONS)


def test_nodata_of_floats_is_nan_unless_it_is_given() -> None:
    assert np.isnan(Layer("a", "float32").nodata)
    assert Layer("a", "float32", -9999).nodata == -9999
    assert Layer("a", "float32", 255).nodata == 255
    assert Layer("a").nodata == Layer("a", "uint16").nodata == 255
    assert Layer.parse(Layer("a", "float32").describe()).describe()["nodata"] == "nan"
