"""Pairs across lines and aside, and their test: a loop over pixels, and random fields."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from rsscale.gate_rules.gate import Gate
from rsscale.gate_rules.rows import Condition
from rsscale.gate_rules.seam_counts import ASIDE, REACH, SEGMENT, SUMS, Layers, count_segments
from rsscale.gate_rules.seam_gate import SeamGate
from rsscale.gate_rules.seam_test import Differences
from rsscale.gate_rules.tile_rows import TileOfSpan
from rsscale.geo.lattice import PixelBox
from rsscale.recipe.gates_recipe import SeamsRecipe

EVERYWHERE = SeamsRecipe(significance=0.99, classes=0)


def random_layers(box: PixelBox, seed: int = 0, sigma: float = 4) -> Layers:
    """Patches of classes, some pixels without one, and the edges of scenes and zones."""
    random = np.random.default_rng(seed)
    shape = gaussian_filter(random.normal(size=box.shape), sigma, mode="wrap")
    shape = shape / shape.std() + 0.1 * random.normal(size=box.shape)
    rows, cols = np.mgrid[box.row0 : box.row1, box.col0 : box.col1]
    return Layers(
        box,
        np.digitize(shape, [-0.7, 0.7]),
        random.random(box.shape) > 0.02,
        random.integers(0, 101, box.shape),
        {
            "scenes": (rows + 2 * cols > 900).astype(np.uint64),
            "zones": (3 * rows - cols > 100).astype(np.uint64),
        },
    )


def part_of(layers: Layers, box: PixelBox) -> Layers:
    rows, cols = box.slices(layers.box)
    return Layers(
        box,
        layers.classes[rows, cols],
        layers.valid[rows, cols],
        None if layers.confidence is None else layers.confidence[rows, cols],
        {name: labels[rows, cols] for name, labels in layers.edges.items()},
    )


def tiles_of(layers: Layers, tile: int, stride: int | None) -> Iterator[TileOfSpan]:
    """The segments of each tile, as the pass gives them."""
    for core in layers.box.pad(-REACH).blocks(tile):
        if core & layers.box.pad(-REACH) != core:
            continue
        found = TileOfSpan(f"{core.row0}-{core.col0}", core, "2023", Condition.SOUND, tile**2)
        near = part_of(layers, core.pad(REACH))
        for one in count_segments(near, core, tile, stride):
            key = np.full(len(one.rows), int(one.is_horizontal))
            columns = {"key": key, "row": one.rows, "col": one.cols, "owned": one.owned}
            columns |= {name: one.sums[name] for name in SUMS}
            before = found.segments.get(one.family)
            found.segments[one.family] = {
                name: array if before is None else np.concatenate([before[name], array])
                for name, array in columns.items()
            }
        yield found


def gate_of(layers: Layers, family: str, tile: int, stride: int | None = 96) -> Gate:
    gate = SeamGate(family, EVERYWHERE, has_confidence=True)
    for one in tiles_of(layers, tile, stride):
        gate.add(one)
    return gate.result()


@pytest.mark.parametrize("family", ["tiles", "windows", "zones", "scenes"])
def test_sums_are_those_of_a_loop_over_pixels(family: str) -> None:
    core = PixelBox(-40, 128, 216, 384)
    layers = random_layers(core.pad(REACH), seed=2)
    found: defaultdict[tuple[int, bool], np.ndarray] = defaultdict(
        lambda: np.zeros(len(SUMS), np.int64)
    )
    for one in count_segments(layers, core, 128, 48):
        if one.family == family:
            sums = np.stack([one.sums[name] for name in SUMS], axis=1)
            for number, total in enumerate(sums):
                found[int(one.owned[number]), one.is_horizontal] += np.abs(total)
                assert total[0] <= SEGMENT * SEGMENT
    for is_horizontal in (False, True):
        pairs, differ = looped(layers, core, family, is_horizontal=is_horizontal)
        total = found[1, is_horizontal]
        assert total[0] == pairs[0] + pairs[1]
        assert total[1] == differ


def looped(layers: Layers, core: PixelBox, family: str, *, is_horizontal: bool) -> tuple:
    """Pairs that are compared on the one and the other side, and how many differ across."""
    down, right = (1, 0) if is_horizontal else (0, 1)

    def at(array: np.ndarray, row: int, col: int) -> int:
        return int(array[row - layers.box.row0, col - layers.box.col0])

    def is_line(row: int, col: int, *, aside: bool) -> bool:
        place = row if is_horizontal else col
        tile, window = place % 128 == 0, place % 48 == 0
        zone, scene = (
            at(layers.edges[n], row, col) != at(layers.edges[n], row - down, col - right)
            for n in ("zones", "scenes")
        )
        if aside:
            return window or zone or scene or (tile and family in ("tiles", "windows"))
        return {
            "tiles": tile,
            "windows": window and not tile,
            "zones": zone and not window,
            "scenes": scene and not (window or zone),
        }[family]

    def good(row: int, col: int) -> bool:
        return bool(at(layers.valid, row, col) and at(layers.valid, row - down, col - right))

    def differs(row: int, col: int) -> bool:
        return at(layers.classes, row, col) != at(layers.classes, row - down, col - right)

    sides, differ = [0, 0], 0
    for row, col in product(range(core.row0, core.row1), range(core.col0, core.col1)):
        if not is_line(row, col, aside=False) or not good(row, col):
            continue
        # The side is the same for a segment: known from the module, by where it lies.
        side = side_of(row // SEGMENT, col // SEGMENT, is_horizontal=is_horizontal)
        other = (row + side * down * ASIDE, col + side * right * ASIDE)
        if good(*other) and not is_line(*other, aside=True):
            sides[side > 0] += 1
            differ += differs(row, col)
    return sides, differ


def side_of(row: int, col: int, *, is_horizontal: bool) -> int:
    from rsscale.gate_rules.seam_counts import _aside

    block = (
        (np.array([col]), np.array([row])) if is_horizontal else (np.array([row]), np.array([col]))
    )
    return int(np.sign(_aside(*block, is_horizontal=is_horizontal)[0]))


def test_either_side_is_compared_as_often() -> None:
    sides = [
        side_of(row, col, is_horizontal=turned)
        for row, col, turned in product(range(-30, 30), range(-30, 30), (False, True))
    ]
    assert abs(np.mean(sides)) < 0.05


@pytest.mark.parametrize("family", ["zones", "scenes"])
def test_edges_of_scenes_give_the_same_for_all_tile_sizes(family: str) -> None:
    layers = random_layers(PixelBox(0, 0, 768, 768).pad(REACH), seed=1)
    whole, *others = (gate_of(layers, family, tile) for tile in (768, 256, 96))
    for gate in others:  # tiles have other names, and the rest is the same to the bit
        assert (gate.value, gate.p_value, gate.text) == (whole.value, whole.p_value, whole.text)
        assert [p.box for p in gate.places] == [p.box for p in whole.places]
    assert whole.p_value is not None


def test_few_segments_are_turned_one_by_one() -> None:
    random = np.random.default_rng(1)
    values = random.integers(-3, 6, 12)
    sums = Differences()
    sums.add(np.full(12, 9), np.maximum(values, 0), np.maximum(-values, 0))
    signs = np.array(list(product([-1, 1], repeat=12)))
    exact = float((signs @ values >= values.sum()).mean())
    assert sums.p_value() == pytest.approx(exact, abs=0.01)
    assert sums.bound(2.0) > 0.0228  # the tail of the normal distribution
    again = Differences()
    for value in np.random.default_rng(5).permutation(values):
        again.add([9], [max(value, 0)], [max(-value, 0)])
    assert again.p_value() == sums.p_value()


def test_many_segments_are_normal() -> None:
    random = np.random.default_rng(2)
    values = random.choice([-1, 1], 5000, p=[0.48, 0.52])
    sums = Differences()
    sums.add(np.ones(5000), np.maximum(values, 0), np.maximum(-values, 0))
    from scipy.stats import binomtest

    wins = int((values > 0).sum())
    exact = binomtest(wins, 5000, 0.5, alternative="greater").pvalue
    assert sums.p_value() == pytest.approx(exact, rel=0.1)


def test_too_few_segments_are_not_checked() -> None:
    box = PixelBox(0, 0, 160, 160)
    gate = SeamGate("tiles", SeamsRecipe(), has_confidence=False)
    layers = random_layers(box.pad(REACH), seed=0)
    for one in tiles_of(layers, 80, None):
        gate.add(one)
    result = gate.result()
    assert result.status == "not checked"
    assert "too few for a test" in result.text
    assert SeamGate("tiles", SeamsRecipe(), has_confidence=False).result().status == "not checked"


def field(seed: int, sigma: float, size: int = 512) -> Layers:
    box = PixelBox(0, 0, size, size)
    layers = random_layers(box, seed, sigma)
    return Layers(box, layers.classes, np.ones(box.shape, bool), None, {})


def p_value(layers: Layers) -> float:
    sums = Differences()
    for one in count_segments(layers, layers.box, 128, None):
        pairs, across, aside = (
            one.sums[name][one.owned] for name in ("pairs", "across_classes", "aside_classes")
        )
        sums.add(pairs, across, aside)
    return sums.p_value()


@pytest.mark.extended
@pytest.mark.parametrize("sigma", [3, 12])
def test_without_seams_p_values_are_uniform_and_with_one_small(sigma: float) -> None:
    """200 random fields of patches, small and as large as a fifth of a segment or more."""
    found = np.array([p_value(field(seed, sigma)) for seed in range(200)])
    assert kstest(found, "uniform").pvalue > 0.01
    assert (found < 0.05).mean() < 0.09  # 18 of 200: by chance once in 100 suites
    seams = []
    for seed in range(20):
        layers = field(seed, sigma)
        for row, col in product(range(0, 512, 128), repeat=2):  # each tile 7 px from its place
            tile = np.s_[row : row + 128, col : col + 128]
            layers.classes[tile] = np.roll(layers.classes[tile], 7, axis=(0, 1))
        seams.append(p_value(layers))
    assert max(seams) < 0.01
