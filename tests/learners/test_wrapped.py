"""Ensembles and areas of applicability: trained, saved, opened, and what their layers say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from point_series import BANDS, long_form

import rsscale as rs
from rsscale.errors import ModelError, RecipeError
from rsscale.learn.architectures import build, complete, registered
from rsscale.learn.models import open_model, save_model
from rsscale.learners.applicability import _spread, check_wrapped
from rsscale.learners.base import Design
from rsscale.learners.chips import InputBands
from rsscale.learners.point_batches import predict_numbers, table_windows
from rsscale.network.receptive_field import innermost, reach_of

NAMES = ["classification", "confidence", "disagreement", "dissimilarity", "applicable"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def table_of(count: int = 120, seed: int = 0) -> rs.SeriesTable:
    return rs.read_series_table(
        long_form(count, seed=seed), bands=BANDS, label="label", nodata=-9999, scale=1e-4,
        blocks=2.0,
    )  # fmt: skip


def run(**options: object) -> tuple:
    defaults: dict = {"epochs": 12, "batch": 16, "seed": 1, "device": "cpu", "learning_rate": 1e-2}
    hyperparameters = {"width": 32, "heads": 4}
    return rs.train_table(
        table_of(), architecture="ltae", hyperparameters=hyperparameters, **{**defaults, **options}
    )


@pytest.fixture(scope="module")
def trained() -> tuple:
    return run(members=3, applicability=True)


@pytest.mark.extended
def test_members_are_those_of_their_seeds(trained: tuple) -> None:
    ensemble = trained[0].module.network
    for number, member in enumerate(ensemble.members):
        alone, _ = run(seed=1 + number)
        first = alone.module.state_dict()
        same = [torch.equal(v, member.state_dict()[k]) for k, v in first.items()]
        # The split, and so what is trained on, is that of the first seed.
        assert all(same) is (number == 0)


def test_the_mean_of_probabilities_is_scored(trained: tuple) -> None:
    model, report = trained
    table = table_of(seed=5)
    numbers = predict_numbers(model, table)
    assert numbers.shape == (len(table), 2)
    members = [
        torch.cat([m({k: w[k] for k in w}) for w in table_windows(model, table)])[:, :, 0, 0]
        for m in model.module.network.members
    ]
    mean = torch.stack([m.softmax(dim=1) for m in members]).mean(dim=0)
    found = torch.from_numpy(numbers).softmax(dim=1)
    torch.testing.assert_close(found, mean, atol=1e-5, rtol=0)
    assert report.scores.accuracy > 0.9
    assert str(report).startswith("trained ltae (3 members) on ")


def test_it_is_opened_as_it_was_saved(trained: tuple, tmp_path: Path) -> None:
    model, report = trained
    save_model(model, tmp_path / "m", **report.properties())
    opened = open_model(tmp_path / "m", device="cpu")
    assert opened.spec == model.spec
    assert opened.spec.architecture == "applicability(ensemble(ltae))"
    assert [layer.name for layer in opened.spec.layers(NAMES)] == NAMES
    assert (tmp_path / "m/model.safetensors").exists()  # and no program that must be trusted
    table = table_of(seed=5)
    np.testing.assert_array_equal(predict_numbers(opened, table), predict_numbers(model, table))


def test_what_was_never_seen_is_outside(trained: tuple) -> None:
    model, _ = trained
    table, strange = table_of(seed=5), table_of(seed=5)
    strange.inputs[0].values[...] += 2.0  # reflectance far beyond the training
    with torch.inference_mode():
        inside, outside = (
            torch.cat([model(w) for w in table_windows(model, t)])[:, -1, 0, 0].numpy()
            for t in (table, strange)
        )
    assert inside.mean() > 0.8
    assert outside.max() == 0


def test_pixels_that_are_kept_are_spread_over_places() -> None:
    groups = np.repeat([3, 5, 9], [1000, 10, 100])
    chosen = _spread(groups, 60, seed=0)
    assert len(set(chosen.tolist())) == 60
    counts = {g: int((groups[chosen] == g).sum()) for g in (3, 5, 9)}
    assert counts == {3: 25, 5: 10, 9: 25}
    assert len(_spread(groups[:20], 60, seed=0)) == 20


def test_names_say_what_is_inside() -> None:
    name = "applicability(ensemble(unet))"
    assert innermost(name) == "unet"
    options = complete(name, {"members": 2, "width": 8, "features": 4, "pixels": 5})
    assert options["depth"] == 3
    assert reach_of(name, options) == reach_of("unet", options) == 23
    assert registered("ensemble(utae)").layout == "mapping"
    inputs = [InputBands("s2", ("red", "nir"), ("spring", "summer"))]
    network = build(name, inputs, 2 + 1 + 2, **options).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 4, 16, 16)).shape == (1, 5, 16, 16)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bagging(unet)", {}, r"'bagging' is not known; there are ensemble\(…\), applicab"),
        ("ensemble(unett)", {}, "'unett' is not known.*did you mean 'unet'"),
        ("ensemble(unet)", {"members": 1}, "1 members; expected 2 to 100"),
        ("ensemble(unet)", {"members": 10**9}, "expected 2 to 100"),
        ("ensemble(unet)", {"widht": 3}, "no hyperparameter 'widht'"),
        ("applicability(unet)", {"pixels": 10**9}, "expected 1 to 100,000"),
    ],
)
def test_what_can_not_be_is_said(name: str, options: dict, message: str) -> None:
    inputs = [InputBands("s2", ("red", "nir"), ("spring", "summer"))]
    with pytest.raises(ModelError, match=message):
        build(name, inputs, 5, **options)


@pytest.mark.parametrize("wrapper", ["members", "applicability"])
def test_hyperparameters_of_one_name_are_refused(
    wrapper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network's would be lost: the model could not be opened again."""
    (tmp_path / "own_heads.py").write_text(
        "def net(channels, outputs, features=8, members=2):\n    raise ValueError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RSSCALE_ARCHITECTURES", "own_heads")
    design = Design("a", "own_heads:net", {"features": 9})
    check_wrapped(design)
    options: dict = {"members": 2} if wrapper == "members" else {"applicability": True}
    with pytest.raises(ModelError, match=r"has a hyperparameter '(members|features)', and so has"):
        check_wrapped(design, **options)
    check_wrapped(Design("a", "unet"), 3, applicability=True)


def test_values_have_no_ensemble() -> None:
    table = rs.read_series_table(
        long_form(60), bands=BANDS, values=["height"], nodata=-9999, scale=1e-4, blocks=2.0
    )
    with pytest.raises(RecipeError, match="of networks that tell classes"):
        rs.train_table(table, architecture="tempcnn", members=3)
