"""The sieve of parts: that of the whole image, one piece after the other, however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from whole_sieve import whole_sieve

from rsscale.geo.lattice import PixelBox
from rsscale.patches.elimination import LeastUnits
from rsscale.patches.parts import decide_part, decide_rest


def sieved(
    classes: np.ndarray,
    valid: np.ndarray,
    units: np.ndarray,
    least: dict[int, int],
    connectivity: int = 4,
    tile: int = 100,
    place: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """As tiles of a run do it: each by itself, the rest together, each again."""
    height, width = classes.shape
    limits, parts = LeastUnits(least), []
    for row in range(0, height, tile):
        for col in range(0, width, tile):
            box = PixelBox(row, col, min(row + tile, height), min(col + tile, width))
            here = box.slices(PixelBox(0, 0, height, width))
            moved = PixelBox(
                box.row0 + place[0], box.col0 + place[1], box.row1 + place[0], box.col1 + place[1]
            )
            part = decide_part(
                classes[here], valid[here], units[here], moved,
                least=limits, connectivity=connectivity,
            )  # fmt: skip
            parts.append((here, part))
    rest = decide_rest([part.rows() for _, part in parts], least=limits, connectivity=connectivity)
    found = classes.astype(np.int64)
    for here, part in parts:
        of_pixel = part.pieces.of_pixel
        found[here] = np.where(
            of_pixel >= 0, np.append(part.classes(*rest), 0)[of_pixel], found[here]
        )
    return found


@st.composite
def maps(draw: st.DrawFn) -> dict:
    """Label maps from noise to fields, with nodata, unequal areas, and classes that are kept."""
    shape = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    count, smooth = draw(st.integers(1, 5)), draw(st.sampled_from([0, 0, 0.7, 1.5]))
    field = ndimage.gaussian_filter(rng.random(shape), smooth)
    least = {value: int(rng.integers(1, 90)) for value in range(count)}
    if draw(st.booleans()):
        least.pop(int(rng.integers(0, count)))
    return {
        "classes": (field * 40).astype(int) % count,
        "valid": rng.random(shape) >= draw(st.sampled_from([0, 0.1, 0.4])),
        "units": rng.integers(8, 12, shape),
        "least": least,
        "connectivity": draw(st.sampled_from([4, 8])),
        "place": (draw(st.integers(-20, 20)), draw(st.integers(-20, 20))),
    }


def drawn_maps(count: int):
    @settings(deadline=None, derandomize=True, max_examples=count)
    @given(drawn=maps())
    def test(drawn: dict) -> None:
        valid, wanted = drawn["valid"], whole_sieve(**drawn)
        for tile in (1, 3, 5, 100):
            np.testing.assert_array_equal(sieved(**drawn, tile=tile)[valid], wanted[valid])

    return test


test_parts_are_the_whole_image = drawn_maps(30)
test_parts_of_many_maps_are_the_whole_image = pytest.mark.long(drawn_maps(2000))


def drawing(text: str) -> np.ndarray:
    """Digits are classes, a dot has none."""
    rows = [line.strip() for line in text.strip().splitlines()]
    return np.array([[-1 if one == "." else int(one) for one in row] for row in rows])


def of_drawing(text: str, least: int, connectivity: int = 4, tile: int = 3) -> str:
    classes = drawing(text)
    valid, ones = classes >= 0, np.ones(classes.shape, int)
    drawn = {"classes": classes, "valid": valid, "units": ones, "connectivity": connectivity}
    drawn["least"] = dict.fromkeys(range(10), least)
    found = sieved(**drawn, tile=tile)
    for other in (1, 2, 4, 100):
        np.testing.assert_array_equal(sieved(**drawn, tile=other)[valid], found[valid])
    np.testing.assert_array_equal(whole_sieve(**drawn)[valid], found[valid])
    return "\n".join("".join("." if one < 0 else str(one) for one in row) for row in found)


def lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def test_neighbours_of_one_class_count_together() -> None:
    """The 5 shares three edges with the largest neighbour, and four with the two of class 2."""
    found = of_drawing(
        """
        111111
        222522
        222522
        111111
        """,
        3,
    )
    assert found == lines("111111\n222222\n222222\n111111")


def test_a_spiral_across_many_tiles_is_one_piece() -> None:
    spiral = """
        2222222
        1111112
        1222212
        1211212
        1212212
        1211112
        1222222
        """
    assert of_drawing(spiral, 15) == lines(spiral)
    assert "1" not in of_drawing(spiral, 25)


def test_a_diagonal_is_one_piece_by_eight_neighbours() -> None:
    diagonal = """
        20000
        02000
        00200
        00020
        """
    assert of_drawing(diagonal, 4, 8) == lines(diagonal)
    assert "2" not in of_drawing(diagonal, 4, 4)


def test_what_lies_alone_in_nodata_stays() -> None:
    alone = """
        11...
        1..2.
        ....3
        """
    assert of_drawing(alone, 4) == lines(alone)
    joined = of_drawing(alone, 4, 8)
    assert joined in {lines(alone).replace("2", "3"), lines(alone).replace("3", "2")}


def test_small_pieces_grow_together_before_a_large_one_takes_them() -> None:
    """The 3, the smallest, goes to the 2 that holds it; the two of them are large enough."""
    found = of_drawing(
        """
        11111111
        11222211
        11232211
        11222211
        11111111
        """,
        12,
    )
    assert found == lines("11111111\n11222211\n11222211\n11222211\n11111111")


def test_ties_favour_no_class() -> None:
    """Single pixels between two classes, two edges of each: about half go to either."""
    rng = np.random.default_rng(3)
    classes = np.where(np.arange(300) < 150, 1, 2)[None].repeat(300, axis=0)
    classes[rng.choice(np.arange(0, 300, 2), 150, replace=False)[:, None], [149, 150]] = 3
    ones = np.ones(classes.shape, int)
    found = sieved(classes, ones > 0, ones, dict.fromkeys((1, 2, 3), 5), tile=64)
    assert (found != 3).all()
    share = (found[::2, 149] == 1).mean()
    assert 0.35 < share < 0.65


@pytest.mark.parametrize("connectivity", [4, 8])
def test_noise_is_decided_the_same_in_tiles_of_any_size(connectivity: int) -> None:
    """Chains of small pieces that cross everything: more than the slow reference can take."""
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 5, (110, 90))
    classes[30:80, 20:70][rng.random((50, 50)) < 0.6] = 1
    valid, ones = rng.random(classes.shape) > 0.03, np.ones(classes.shape, int)
    least = dict.fromkeys(range(5), 12)
    whole = sieved(classes, valid, ones, least, connectivity, 1000)
    assert (whole != classes)[valid].mean() > 0.3
    for tile in (17, 64, 97):
        np.testing.assert_array_equal(
            sieved(classes, valid, ones, least, connectivity, tile)[valid], whole[valid]
        )


def test_parts_without_a_class_decide_nothing() -> None:
    classes, ones = np.zeros((6, 8), int), np.ones((6, 8), int)
    found = sieved(classes, ones < 0, ones, {0: 9}, 8, 3)
    np.testing.assert_array_equal(found, classes)
    box = PixelBox(0, 0, 6, 8)
    part = decide_part(classes, ones < 0, ones, box, least=LeastUnits({}, 9), connectivity=4)
    assert len(part.rows()["kind"]) == 0


@pytest.mark.parametrize("connectivity", [4, 8])
def test_where_the_rules_agree_it_is_the_sieve_of_gdal(connectivity: int) -> None:
    """Small pieces with one neighbour each: GDAL's goes to the largest, which is that one."""
    from rasterio.features import sieve

    rng = np.random.default_rng(4)
    classes = np.where(np.indices((90, 120)).sum(axis=0) < 100, 1, 2).astype(np.uint8)
    classes[:30, 80:] = 3
    place = rng.random((90, 120)) < 0.02
    spots = ndimage.binary_dilation(place, np.ones((3, 2)))
    near = np.ones((9, 9))
    borders = ndimage.grey_dilation(classes, footprint=near) != ndimage.grey_erosion(
        classes, footprint=near
    )
    labels, count = ndimage.label(spots, np.ones((3, 3)))
    crossed = np.unique(labels[borders])
    spots &= ~np.isin(labels, crossed)
    classes[spots] = 7
    ones = np.ones(classes.shape, int)
    for least in (4, 7, 13):
        found = sieved(classes, ones > 0, ones, dict.fromkeys(range(8), least), connectivity, 32)
        np.testing.assert_array_equal(found, sieve(classes, least, connectivity=connectivity))
    assert count > 20
    assert (found != classes).sum() > 100


def test_rows_grow_with_the_edge_of_a_part() -> None:
    rng = np.random.default_rng(2)
    counts = []
    for size in (64, 128, 256):
        classes, ones = rng.integers(0, 5, (size, size)), np.ones((size, size), int)
        box, least = PixelBox(0, 0, size, size), LeastUnits({}, 20)
        part = decide_part(classes, ones > 0, ones, box, least=least, connectivity=4)
        counts.append(len(part.rows()["kind"]))
    assert counts[1] < 2.3 * counts[0]
    assert counts[2] < 2.3 * counts[1]
