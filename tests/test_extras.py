"""What is installed when: hard dependencies are what the package imports, the rest are extras."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from box_model import BoxModel
from cube_scenes import geobox
from stac_factory import make_item

import rsscale
from rsscale.demo.run import run_demo
from rsscale.demo.serve import serve_catalog
from rsscale.errors import MissingExtraError, RunFolderError
from rsscale.items.freeze import thaw
from rsscale.monitoring.metrics import serve_metrics
from rsscale.net.signing import signer
from rsscale.pictures.quicklook import quicklook, rgb
from rsscale.store.storage import open_storage

PACKAGE = Path(rsscale.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}


HARD = names(PROJECT["dependencies"])
EXTRAS = {extra: names(found) for extra, found in PROJECT["optional-dependencies"].items()}


def distribution(module: str) -> str:
    """What to install for a module of the libraries that rsscale uses."""
    return {"yaml": "pyyaml", "sklearn": "scikit-learn", "PIL": "pillow"}.get(
        module, re.sub(r"[._]", "-", module)
    )


def imports(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif isinstance(child, ast.ImportFrom) and child.module:
            found.add(child.module)
    parts = [name.split(".") for name in found]
    return {".".join(p[:2]) if p[0] == "odc" else p[0] for p in parts}


@cache
def imported() -> tuple[set[str], set[str]]:
    """What modules of the package import anywhere, and outside of functions."""
    anywhere: set[str] = set()
    at_the_top: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        anywhere |= imports(tree)
        at_the_top |= set().union(
            *(imports(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom))
        )
    return anywhere, at_the_top


def third_party(*, at_the_top: bool) -> set[str]:
    """Distributions that modules of the package import, anywhere or outside of functions."""
    outside = imported()[at_the_top] - set(sys.stdlib_module_names) - {"rsscale"}
    return {distribution(module) for module in outside}


def test_every_hard_dependency_is_imported_by_the_package() -> None:
    assert third_party(at_the_top=False) >= HARD


def test_every_import_is_declared() -> None:
    # IPython is there where a notebook is.
    assert third_party(at_the_top=False) - {"IPython"} <= HARD.union(*EXTRAS.values())


def test_no_module_needs_an_extra_to_be_imported() -> None:
    assert third_party(at_the_top=True) <= HARD


def test_all_is_every_extra() -> None:
    [everything] = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"[\w-]+", everything)) == {"rsscale", *EXTRAS} - {"all"}


def hide(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """As if it were not installed."""
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)


def product() -> xr.Dataset:
    flags = {"flag_values": np.array([1], "uint8"), "flag_meanings": "water"}
    layer = xr.DataArray(np.ones((4, 5), "uint8"), dims=("y", "x"), attrs=flags)
    return xr.Dataset({"classification": layer.assign_coords(y=np.arange(4)[::-1], x=np.arange(5))})


def install(extra: str) -> str:
    return rf"^[^\n]*pip install 'rsscale\[{extra}\]'$"


def test_a_picture_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide(monkeypatch, "matplotlib")
    with pytest.raises(MissingExtraError, match=install("pictures")) as caught:
        quicklook(product(), tmp_path / "map.png")
    assert caught.value.exit_code == 2
    colors = xr.DataArray(np.ones((3, 2, 2)), dims=("band", "y", "x"))
    assert rgb(colors.assign_coords(band=["red", "green", "blue"])).shape == (2, 2, 3)


def test_a_cube_by_odc_stac_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "odc.stac")
    with pytest.raises(MissingExtraError, match=install("odc")):
        rsscale.load([make_item("a")], geobox(0, 0, 10, 10), ["red"], loader="odc-stac")


def test_items_of_another_tool_without_rustac(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rustac = pytest.importorskip("rustac")
    path = str(tmp_path / "foreign.parquet")
    rustac.write_sync(path, [make_item("a")])
    hide(monkeypatch, "rustac")
    with pytest.raises(MissingExtraError, match=install("stac-geoparquet")) as caught:
        thaw(path)
    assert "foreign.parquet" in str(caught.value)


def test_the_demo_asks_for_its_extra_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        hide(patch, "matplotlib")
        with pytest.raises(MissingExtraError, match=install("demo")):
            run_demo(tmp_path / "demo")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingExtraError, match=install("demo")):
        run_demo(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
    (tmp_path / "items.json").write_text("{}")
    with (
        pytest.raises(MissingExtraError, match=install("demo")),
        serve_catalog(tmp_path / "items.json"),
    ):
        pass


@pytest.mark.parametrize(
    ("library", "extra", "file"),
    [
        ("onnxruntime", "onnx", "model.onnx"),
        ("skops", "classical", "model.skops"),
        ("sklearn", "classical", "model.skops"),
        ("lightgbm", "classical", "model.txt"),
        ("segmentation_models_pytorch", "smp", "model.safetensors"),
    ],
)
def test_a_model_without_the_library_that_runs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, extra: str, file: str
) -> None:
    hide(monkeypatch, library)
    item = BoxModel().spec.to_item()
    item["properties"]["mlm:architecture"] = "smp:Unet"
    item["properties"].pop("mlm:framework")
    item["assets"]["model"] = {"href": f"./{file}", "roles": ["mlm:model"]}
    (tmp_path / "item.json").write_text(json.dumps(item))
    (tmp_path / file).write_bytes(b"never read")
    with pytest.raises(MissingExtraError, match=install(extra)):
        rsscale.open_model(tmp_path)


def test_a_run_in_a_bucket_without_obstore(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "obstore")
    with pytest.raises(RunFolderError, match=install("buckets")):
        open_storage("s3://bucket/prefix")


def test_metrics_without_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "prometheus_client")
    with pytest.raises(rsscale.RecipeError, match=install("metrics")), serve_metrics(0):
        pass


def test_signing_for_the_planetary_computer_without_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "planetary_computer")
    signer.cache_clear()  # another test may have had one
    with pytest.raises(rsscale.RecipeError, match=install("planetary-computer")):
        signer("planetary-computer")
