"""Guards of two dates in runs: shifts told, taken back, refused; digital numbers related."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from two_dates import TwoDates, clouds, hidden, pair_of, texture

import rsscale as rs
from rsscale.change_guards.guards import GuardOptions
from rsscale.errors import RecipeError
from rsscale.recipe.yaml_text import parse_yaml

BOX = [119.86, 32.50, 119.87, 32.51]


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "pair_pass")


def ran(
    folder: Path,
    dates: TwoDates,
    tile: int = 256,
    client: Any = None,
    name: str = "run",
    **step: Any,
) -> rs.Run:
    recipe = dates.recipe(folder, tile=tile, **step)
    return rs.run(recipe, folder / name, client, threads=1, device="cpu")


def inside(run: rs.Run) -> xr.Dataset:
    """The layers over the area, whatever the tiles."""
    found = run.open("pair").squeeze("time")
    x, y = 203_340 + 20 * 30, 3_604_920 - 20 * 30
    return found.sel(x=slice(x, x + 260 * 30), y=slice(y, y - 260 * 30)).load()


def rms(found: xr.Dataset) -> float:
    return float(np.sqrt(np.nanmean((found["before"] - found["after"]) ** 2)))


@pytest.fixture(scope="module")
def shifted_pair() -> TwoDates:
    dates = pair_of(0, 0.7, -0.3, size=300)
    after = hidden(0.5 * dates.after + 30, clouds(3, (300, 300), 0.2))
    return TwoDates(hidden(dates.before, clouds(4, (300, 300), 0.1)), after)


def test_a_shift_is_told_and_nothing_else_changes(
    tmp_path: Path, shifted_pair: TwoDates, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rsscale"):
        run = ran(tmp_path, shifted_pair)
    (row,) = run.table("pair-shift").to_pylist()
    assert (row["dx"], row["dy"]) == pytest.approx((0.7, -0.3), abs=0.05)
    assert row["found"] == row["blocks"] > 1
    assert "shifted by (0.70 east, -0." in caplog.text
    assert "more than half a pixel" in caplog.text
    assert "register: correct" in run.summary()
    plain = ran(tmp_path, shifted_pair, name="off", register="off")
    assert set(plain.state["steps"]) == {"pair"}
    assert inside(run).equals(inside(plain))


@pytest.mark.extended
def test_it_is_taken_back_and_numbers_are_related(
    tmp_path: Path, shifted_pair: TwoDates, two_workers: str
) -> None:
    """The same values for three tile sizes, in process and on two workers."""
    step = {"register": "correct", "normalise": True}
    run = ran(tmp_path, shifted_pair, **step)
    first = inside(run)
    gains = run.table("pair-radiometry").to_pylist()
    assert [row["band"] for row in gains] == ["red", "nir"]
    for row in gains:
        assert (row["gain"], row["offset"]) == pytest.approx((2, -60), rel=0.05)
    assert rms(first) < 1.6  # noise alone is 1.41, the spread 20, and 8 of a pair not moved
    seen = (first["seen"] == 1).values
    assert 0.6 < seen.mean() < 0.9
    known = np.isfinite(first["after"].values).all(axis=0)
    hidden_after = np.isnan(shifted_pair.after[0, 20:280, 20:280])
    assert not known[hidden_after & np.roll(hidden_after, -1, 1)].any()
    for tile, client in ((128, None), (384, two_workers)):
        other = ran(tmp_path, shifted_pair, tile, client, f"run-{tile}", **step)
        assert other.table("pair-shift").equals(run.table("pair-shift"))
        assert other.table("pair-radiometry").equals(run.table("pair-radiometry"))
        assert inside(other).equals(first)
    assert "taken back" in run.summary()


@pytest.mark.extended
def test_a_large_shift_is_refused_or_corrected_as_asked(tmp_path: Path) -> None:
    dates = pair_of(5, 20, -3.5, size=300)
    for register in ("warn", "correct"):
        with pytest.raises(
            rs.TilesFailedError, match=r"shifted by \((20.0\d|19.9\d) east, -3.\d\d down\) px.*8"
        ):
            ran(tmp_path, dates, name=register, register=register)
        assert not list((tmp_path / register / "ledger" / "pair").rglob("*.json"))
    run = ran(tmp_path, dates, name="more", register="correct", max_shift=20)
    assert rms(inside(run)) < 1.6


def test_other_places_are_named(tmp_path: Path) -> None:
    one, other = (texture(seed, (300, 300)) for seed in (1, 2))
    with pytest.raises(rs.TilesFailedError, match="show different places: 4 of 4 blocks"):
        ran(tmp_path, TwoDates(one, other), register="correct")


@pytest.mark.extended
def test_a_date_that_is_all_cloud_gives_nothing(tmp_path: Path) -> None:
    dates = pair_of(2, 0, 0, size=300)
    cloudy = TwoDates(dates.before, np.full_like(dates.after, np.nan))
    run = ran(tmp_path, cloudy, register="correct", normalise=True)
    found = inside(run)
    assert (found["seen"] == 0).all()
    (row,) = run.table("pair-shift").to_pylist()
    assert (row["dx"], row["dy"], row["blocks"]) == (0, 0, 0)


def test_what_is_known_is_taken_as_given(tmp_path: Path, shifted_pair: TwoDates) -> None:
    """In a preview too, which has no whole area."""
    step = {"shift": [0.7, -0.3], "normalise": {"red": [2, -60], "nir": [2, -60]}}
    recipe = shifted_pair.recipe(tmp_path, **step)
    found = rs.preview(recipe, BOX, step="pair", device="cpu").squeeze("time")
    assert rms(found) < 1.5
    plain = rs.preview(shifted_pair.recipe(tmp_path), BOX, step="pair", device="cpu")
    assert rms(plain.squeeze("time")) > 20


def test_off_is_what_yaml_reads_it_as() -> None:
    """``register: off`` is false to YAML."""
    for value in ("off", parse_yaml("register: off", "recipe")["register"]):
        options = GuardOptions.model_validate({"register": value})
        assert options.register_ == "off"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"register": "correct"}, r"a preview has a box alone; give it as shift: \[dx, dy\]"),
        ({"normalise": True}, "a preview has a box alone; give them as normalise"),
        ({"normalise": {"red": [1, 0]}}, "normalise is of red; expected is .*: red, nir"),
        ({"normalise": {"red": [0, 0], "nir": [1, 0]}}, r"normalise.red is \[0, 0\]; .* above 0"),
        ({"shift": [float("nan"), 0]}, "shift.0: input should be a finite number, found nan"),
        ({"register": "yes"}, "register: input should be 'warn', 'correct' or 'off'"),
        ({"shift": [9, 0]}, "more than max_shift, which is 8"),
        ({"shift": [1, 0], "register": "warn"}, "leave register out"),
        ({"max_shift": 0}, "max_shift: input should be greater than or equal to 1"),
        ({"bands": ["nir"], "normalise": {"red": [1, 0]}}, "each band that is compared: nir"),
    ],
)
def test_what_can_not_be_is_refused(
    tmp_path: Path, shifted_pair: TwoDates, step: dict, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        rs.preview(shifted_pair.recipe(tmp_path, **step), BOX, step="pair", device="cpu")
