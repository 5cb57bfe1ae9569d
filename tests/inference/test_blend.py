"""Blending: weights that add up to one, and a map that no cut changes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.xr import xr_coords

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Blend, Lattice, PixelBox
from rsscale.inference.blend import weights
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.prediction.predict import predict

GRID = Grid("EPSG:32631", 10)
LAYERS = ("classification", "confidence", "observations", "probability")
WHOLE = PixelBox(-41, 1003, 29, 1067)


class WindowModel:
    """Scores that depend on the whole window: whatever is cut wrongly shows."""

    device = torch.device("cpu")

    def __init__(self, lattice: Lattice) -> None:
        self.spec = ModelSpec(
            name="window",
            inputs=(ModelInput("s2", ("red", "nir"), ("a",), (0.1, 0.2), (0.5, 0.3)),),
            classes=tuple(LandClass(v, f"class {v}", "#000000") for v in (3, 9, 4)),
            lattice=lattice,
            architecture="window",
        )
        self.windows = 0

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.windows += len(batch)
        size = batch.shape[-1]
        row = torch.arange(size, dtype=torch.float32).view(1, -1, 1) / size
        col = torch.arange(size, dtype=torch.float32).view(1, 1, -1) / size
        mean = batch.mean(dim=(1, 2, 3)).view(-1, 1, 1)
        red, nir = batch[:, 0], batch[:, 1]
        return torch.stack([red + row + 2 * mean, nir + 2 * col, red * nir - 2 * mean + 1], dim=1)


def composite(box: PixelBox, seed: int = 0) -> xr.DataArray:
    """Smooth values, half of all pixels missing in large patches."""
    random = np.random.default_rng(seed)
    coarse = random.random((2, *(n // 9 + 1 for n in box.shape)), dtype=np.float32)
    values = np.kron(coarse, np.ones((9, 9), np.float32))[:, : box.shape[0], : box.shape[1]]
    values += 0.05 * random.random(values.shape, dtype=np.float32)
    gap = values[0] < 0.5
    values[:, gap] = np.nan
    coords = {str(k): v for k, v in xr_coords(GRID.geobox_of(box)).items()}
    return xr.DataArray(
        values[None],
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2023-03-01"], "datetime64[ns]"),
            "window": ("time", ["a"]),
            "band": ["red", "nir"],
            "observations": (("time", "y", "x"), (~gap[None]).astype(np.uint8)),
            **coords,
        },
    )


def mapped(model: WindowModel, box: PixelBox, everything: PixelBox, batch: int = 1) -> xr.Dataset:
    """The map of a box from just what its windows read."""
    read = model.spec.lattice.read_box(box)
    seen = composite(everything)[(..., *read.slices(everything))]
    return predict(seen, model, core=GRID.geobox_of(box), probability=True, batch=batch)


def expected(lattice: Lattice, box: PixelBox, everything: PixelBox) -> np.ndarray:
    """The oracle: probabilities of all windows, weighted in float64."""
    model = WindowModel(lattice)
    spec = model.spec.inputs[0]
    values = composite(everything).values[0]
    mean, std = (np.array(v).reshape(2, 1, 1) for v in (spec.mean, spec.std))
    normal = np.nan_to_num((values - mean) / std).astype(np.float32)
    total = np.zeros((3, *box.shape))
    for core in box.pad(lattice.window).blocks(lattice.stride):
        window = core.pad(lattice.halo)
        target = window & box
        if target.empty:
            continue
        scores = model(torch.from_numpy(normal[(..., *window.slices(everything))])[None])
        weight = np.ones(window.shape)
        for axis in (0, 1):
            t = np.arange(lattice.window) + 0.5
            n = 2 * lattice.halo
            rise = np.sin(np.pi / 2 * np.clip(t / n, 0, 1)) ** 2
            weight *= np.moveaxis((rise * rise[::-1])[None], -1, axis)
        inside = target.slices(window)
        probability = torch.softmax(scores[0].double(), 0).numpy()
        total[(..., *target.slices(box))] += (probability * weight)[(..., *inside)]
    return total


@given(st.integers(1, 90), st.integers(1, 45))
def test_weights_add_up_to_one(stride: int, halo: int) -> None:
    if 2 * halo > stride:
        with pytest.raises(RecipeError, match="at least 2 halos"):
            Lattice(stride, halo, "hann")
        return
    weight = weights(Lattice(stride, halo, "hann")).astype(np.float64)
    n = stride + 2 * halo
    total = np.zeros((n + stride, n + stride))
    for row in (0, stride):
        for col in (0, stride):
            total[row : row + n, col : col + n] += weight
    inner = slice(2 * halo, stride + n - 2 * halo)  # where no third window would be
    assert np.abs(total[inner, inner] - 1).max() < 1e-6
    assert weight.min() > 0
    assert np.array_equal(weight, weight.T)


@pytest.mark.parametrize(("stride", "halo"), [(16, 3), (16, 8), (13, 6)])
def test_hann_is_the_weighted_mean_of_windows(stride: int, halo: int) -> None:
    lattice = Lattice(stride, halo, "hann")
    everything = lattice.read_box(WHOLE).pad(2 * lattice.window)
    found = mapped(WindowModel(lattice), WHOLE, everything)
    want = expected(lattice, WHOLE, everything)
    seen = found.classification.values != 255
    assert 0.2 < seen.mean() < 0.8
    percent = want * 100
    assert np.abs(found.probability.values[:, seen] - percent[:, seen]).max() < 0.5 + 1e-3
    best = np.sort(want, axis=0)
    clear = seen & (best[-1] - best[-2] > 1e-5)
    labels = np.array([3, 9, 4])[want.argmax(axis=0)]
    assert np.array_equal(found.classification.values[clear], labels[clear])
    assert (found.confidence.values == found.probability.values.max(axis=0))[seen].all()


def tiles(box: PixelBox, size: int) -> Iterator[PixelBox]:
    for block in box.blocks(size):
        yield block & box


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["trim", "hann"]),
    st.sampled_from([(16, 3), (16, 8), (13, 5), (24, 0)]),
    st.sampled_from([5, 11, 16, 23, 32, 48]),
    st.integers(1, 3),
)
@pytest.mark.extended
def test_no_cut_changes_a_bit(blend: Blend, window: tuple[int, int], tile: int, batch: int) -> None:
    lattice = Lattice(*window, blend)
    everything = lattice.read_box(WHOLE)
    whole = mapped(WindowModel(lattice), WHOLE, everything, batch)
    assert len(np.unique(whole.classification)) == 4  # three classes and nodata
    pieces = list(tiles(WHOLE, tile))
    for piece in pieces[:: max(len(pieces) // 6, 1)]:
        found = mapped(WindowModel(lattice), piece, everything, batch)
        for name in LAYERS:
            part = whole[name].values[(..., *piece.slices(WHOLE))]
            assert np.array_equal(found[name].values, part), name


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["trim", "hann"]),
    st.integers(0, 50), st.integers(0, 50), st.integers(1, 40), st.integers(1, 40),
)  # fmt: skip
def test_any_box_equals_its_part_of_the_whole(
    blend: Blend, top: int, left: int, height: int, width: int
) -> None:
    lattice = Lattice(16, 6, blend)
    row, col = WHOLE.row0 + top, WHOLE.col0 + left
    box = PixelBox(row, col, row + height, col + width) & WHOLE
    everything = lattice.read_box(WHOLE)
    whole = mapped(WindowModel(lattice), WHOLE, everything)
    found = mapped(WindowModel(lattice), box, everything)
    for name in LAYERS:
        assert np.array_equal(found[name].values, whole[name].values[(..., *box.slices(WHOLE))]), (
            name
        )


def test_a_window_is_skipped_only_where_it_has_no_say() -> None:
    """One seen pixel beyond a window's core is in reach of that window when it is blended."""
    box = PixelBox(0, 0, 64, 64)
    counts = {}
    for blend in ("trim", "hann"):
        model = WindowModel(Lattice(16, 4, blend))
        comp = composite(model.spec.lattice.read_box(box))
        comp.values[:] = np.nan
        where = GRID.geobox_of(PixelBox(33, 20, 34, 21))
        x, y = where.center_pixel.extent.centroid.coords[0]
        comp.loc[{"x": x, "y": y}] = 0.3
        found = predict(comp, model, core=GRID.geobox_of(box))
        counts[blend] = model.windows
        assert np.argwhere(found.classification.values != 255).tolist() == [[33, 20]]
    assert counts == {"trim": 1, "hann": 2}


def test_scores_that_are_no_numbers_blot_out_what_they_have_a_say_in() -> None:
    class Broken(WindowModel):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            scores = super().__call__(batch)
            scores[:, 1, 0, 0] = float("-inf")  # softmax alone would make a number of it
            return scores

    box = PixelBox(0, 0, 32, 32)
    model = Broken(Lattice(16, 4, "hann"))
    comp = composite(model.spec.lattice.read_box(box))
    comp.values[:] = 0.4
    found = predict(comp, model, core=GRID.geobox_of(box), probability=True)
    bad = np.argwhere(found.classification.values == 255).tolist()
    assert bad == [[12, 12], [12, 28], [28, 12], [28, 28]]
    assert found.attrs["non_finite"] == 4
    for name in ("confidence", "probability"):
        assert (found[name].values[..., 12, 12] == 255).all()


def test_blending_hides_a_line_that_trimming_shows() -> None:
    from rsscale.inference.seams import count_seams

    box = PixelBox(0, 0, 256, 256)
    shares = {}
    for blend in ("trim", "hann"):
        model = WindowModel(Lattice(32, 16, blend))
        read = model.spec.lattice.read_box(box)
        found = predict(composite(read), model, core=GRID.geobox_of(box))
        seams = count_seams(found.classification.values, box, model.spec.lattice)
        assert seams.excess is not None
        shares[blend] = seams.excess
    assert shares["hann"] < shares["trim"] / 2


def test_redundancy_counts_the_windows_of_tiles() -> None:
    for stride, halo, tile in ((16, 4, 48), (16, 8, 20), (12, 0, 7), (16, 4, 16)):
        lattice = Lattice(stride, halo, "hann")
        places = [PixelBox(0, k * tile, 1, (k + 1) * tile) for k in range(stride)]
        rows = [len({core.col0 for core in lattice.cores(place)}) for place in places]
        per_axis = sum(rows) * lattice.window / (stride * tile)
        assert lattice.redundancy(tile) == pytest.approx(per_axis**2)
    assert Lattice(16, 4, "hann").redundancy(48) == pytest.approx((5 * 24 / 48) ** 2)


def test_unknown_blending_is_refused() -> None:
    with pytest.raises(RecipeError, match="'han'; expected 'trim' or 'hann'; did you mean 'hann'"):
        Lattice(16, 4, "han")  # type: ignore[arg-type]
