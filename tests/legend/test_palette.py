"""Colours of classes by their names."""

from hypothesis import given
from hypothesis import strategies as st

from rsscale.legend.palette import class_palette, palette


def test_land_is_drawn_as_it_usually_is() -> None:
    names = ["Barren", "forest", "Herbaceous", "built-up area", "open water", "winter crops"]
    colors = dict(zip(names, class_palette(names), strict=True))
    assert colors == {
        "Barren": "#ddcc77",  # sand
        "forest": "#117733",  # green
        "Herbaceous": "#44aa99",  # teal
        "built-up area": "#cc6677",  # rose
        "open water": "#332288",  # blue
        "winter crops": "#999933",  # olive
    }


def test_a_colour_goes_to_the_first_that_it_fits_and_blue_to_none_but_water() -> None:
    assert class_palette(["non-forest", "forest", "mystery", "coniferous forest"]) == (
        "#ddcc77", "#117733", "#cc6677", "#999933",
    )  # fmt: skip


def test_a_short_word_is_not_the_beginning_of_another() -> None:
    names = ["seasonal crops", "seas", "iceberg lettuce", "ice", "bogus", "bogs"]
    colors = class_palette(names)
    assert colors[::2] == ("#999933", "#117733", "#ddcc77")  # olive, and what is left in its order
    assert colors[1::2] == ("#332288", "#88ccee", "#44aa99")


def test_names_that_say_nothing_have_the_palette() -> None:
    for count in (0, 3, 9, 30):
        assert class_palette([f"class {k}" for k in range(count)]) == palette(count)


@given(st.lists(st.sampled_from(["water", "sea", "forest", "wood", "x", "crops", "no data", ""])))
def test_no_two_have_one_colour(names: list[str]) -> None:
    colors = class_palette(names)
    assert len(set(colors)) == len(colors) == len(names)
    assert set(colors) <= set(palette(max(len(names), 9)))
