"""Colours that people with another colour vision can't tell apart; a palette that everyone can."""

import numpy as np
import pytest

from rsscale.legend.color_vision import ALIKE, VISIONS, _seen, alike, least_differences, rgb
from rsscale.legend.palette import palette


def test_grey_is_grey_with_any_vision() -> None:
    grey = np.array([[v, v, v] for v in (0, 40, 128, 255)], float)
    seen = _seen(grey)
    assert seen.shape == (len(VISIONS), 4, 3)
    assert np.abs(seen - seen[0]).max() < 0.5
    assert seen[0, :, 0] == pytest.approx([0, 16.11, 53.59, 100], abs=0.05)  # CIE lightness


def test_colours_in_cielab_are_those_of_the_tables() -> None:
    """sRGB's red, green and blue under D65, as Lindbloom's calculator gives them."""
    seen = _seen(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], float))[0]
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(seen, expected, atol=0.1)


@pytest.mark.parametrize(
    ("first", "second", "vision"),
    [
        ("#6fa052", "#d9954a", "protanopia"),
        ("#4477aa", "#4477aa", "full"),
        ("#44aa99", "#bb8899", "deuteranopia"),
        ("#5a8cff", "#00a3b0", None),
    ],
)
def test_pairs_that_are_mixed_up_are_found(first: str, second: str, vision: str | None) -> None:
    pairs = alike([first, "#000000", second])
    assert [pair.vision for pair in pairs] == ([] if vision is None else [vision])
    if pairs:
        assert (pairs[0].first, pairs[0].second) == (0, 2)
        assert pairs[0].difference < ALIKE


def test_red_and_green_of_one_lightness_are_the_classic_pair() -> None:
    """Far apart for most people, near for those without cones for red or for green."""
    red, green = "#b55a30", "#8a8a20"
    assert [pair.vision for pair in alike([red, green], 30.0)] != []
    seen = _seen(np.array([rgb(red), rgb(green)], float))
    distance = dict(zip(VISIONS, np.linalg.norm(seen[:, 0] - seen[:, 1], axis=-1), strict=True))
    assert distance["full"] > 2 * min(distance["protanopia"], distance["deuteranopia"])
    near = least_differences(np.array([rgb(red)], float), np.array([rgb(green)], float))
    assert near == pytest.approx([min(distance.values())])


def test_one_colour_or_none_is_like_no_other() -> None:
    assert alike([]) == alike(["#123456"]) == []


def test_the_palette_is_told_apart_by_everyone() -> None:
    for count in (9, 16, 24):
        assert alike(palette(count), 15.0) == []
    assert alike([*palette(24), "#ffffff"]) == []  # nodata is white
    whole = palette(254)
    assert len(set(whole)) == 254
    assert [palette(count) for count in (3, 9, 40)] == [whole[:3], whole[:9], whole[:40]]
    assert alike(whole, 2.0) == []
