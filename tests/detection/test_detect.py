"""Objects of an image in memory: each once, the same wherever the image begins and ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import xarray as xr
from blob_detector import GRID, BlobDetector, Named, PeakDetector, Returns, detector, image
from odc.geo.geobox import GeoBox

import rsscale as rs
from rsscale.errors import AreaError, ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.prediction.predict import in_memory

BOX = PixelBox(-150, 900, 150, 1200)  # stride 48: lines at rows -144, -96, …, columns 912, 960, …


def scene(seed: int = 0) -> dict[str, Any]:
    """Rectangles apart from each other: on window lines and corners, one wider than a window."""
    random = np.random.default_rng(seed)
    rows, cols = np.meshgrid(np.arange(-140, 130, 30), np.arange(910, 1180, 30), indexing="ij")
    things = []
    for row, col in zip(rows.ravel().tolist(), cols.ravel().tolist(), strict=True):
        height, width = random.integers(3, 14, 2).tolist()
        down, right = random.integers(0, 14, 2).tolist()
        place = PixelBox(row + down, col + right, row + down + height, col + right + width)
        things.append((place, round(random.uniform(0.6, 1), 3)))
    wide = [t for t in things if t[0].row0 < 40]
    wide.append((PixelBox(60, 915, 75, 1190), 0.9))
    sheds = [(place.pad(1), bright) for place, bright in wide[::7]]
    return {"ponds": wide, "sheds": sheds}


def polygon(place: PixelBox) -> shapely.Polygon:
    (x0, y0), res = GRID.origin, GRID.resolution
    return shapely.box(x0 + place.col0 * res, y0 - place.row1 * res,
                       x0 + place.col1 * res, y0 - place.row0 * res)  # fmt: skip


def expected(things: Sequence[tuple[PixelBox, float]]) -> dict[bytes, float]:
    return {shapely.normalize(polygon(place)).wkb: bright for place, bright in things}


@pytest.mark.parametrize("kind", ["boxes", "outlines"])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_object_is_found_once_with_its_place_and_score(kind: str, seed: int) -> None:
    things = scene(seed)
    found = rs.detect(image(BOX, **things), detector(BlobDetector().eval(), kind))
    for value, name, some in ((3, "pond", things["ponds"]), (9, "shed", things["sheds"])):
        of_class = found[found["class"] == value]
        assert set(of_class.name) == {name}
        shapes = [shapely.normalize(shape.simplify(0)).wkb for shape in of_class.geometry]
        wanted = expected(some)
        assert sorted(shapes) == sorted(wanted)
        assert np.allclose([wanted[shape] for shape in shapes], of_class.score)
    wide = found[found.parts > 1]
    assert set(wide["class"]) == {3}
    assert not found.cut.any()
    assert found.crs == GRID.crs
    assert found.id.is_unique
    degrees = found.geometry[:1].centroid.to_crs(4326)[0]
    scale = pyproj.Proj(GRID.crs).get_factors(degrees.x, degrees.y).areal_scale
    assert np.allclose(found.area_m2, found.area / scale, rtol=1e-3)
    assert found.attrs["counts"]["zero_area"] == 0


def test_what_is_found_does_not_depend_on_the_image_around_it() -> None:
    model = detector(BlobDetector().eval(), "outlines")
    whole = rs.detect(image(BOX, **scene()), model)
    core = PixelBox(-97, 950, 31, 1100)
    part = rs.detect(image(core.pad(100), **scene()), model, core=GRID.geobox_of(core))
    (x0, y1), res = GRID.origin, GRID.resolution
    here = whole.cx[x0 + core.col0 * res : x0 + core.col1 * res,
                    y1 - core.row1 * res : y1 - core.row0 * res]  # fmt: skip
    x, y = here.x / res, -here.y / res
    inside = (x >= core.col0) & (x < core.col1) & (y >= core.row0) & (y < core.row1)
    assert sorted(here.id[inside]) == sorted(part.id)
    assert len(part) > 15


def test_where_says_in_which_pixels_centres_may_lie() -> None:
    model = detector(BlobDetector().eval())
    composite = image(BOX, **scene())
    whole = rs.detect(composite, model)
    where = np.zeros(BOX.shape, bool)
    where[:, :150] = True
    west = rs.detect(composite, model, where=where)
    # The wide one is cut where no window was looked at, and its middle moves.
    assert sorted(west.id[west.parts == 1]) == sorted(
        whole.id[(whole.x < 10500) & (whole.parts == 1)]
    )
    assert west.cut.sum() == 1
    nothing = rs.detect(composite, model, where=np.zeros(BOX.shape, bool))
    assert len(nothing) == 0
    assert list(nothing.columns) == list(whole.columns)
    with pytest.raises(AreaError, match="where has the shape"):
        rs.detect(composite, model, where=where[1:])


def test_an_object_beside_unseen_pixels_may_be_larger() -> None:
    pond = PixelBox(0, 1000, 10, 1012)
    composite = image(BOX, ponds=[(pond, 0.9)], unseen=[PixelBox(-20, 1008, 30, 1100)])
    (found,) = rs.detect(composite, detector(BlobDetector().eval())).itertuples()
    assert found.cut
    assert found.geometry.equals(polygon(PixelBox(0, 1000, 10, 1008)))


def test_least_score_and_overlap_may_be_others_than_the_model_says() -> None:
    ponds = [(PixelBox(0, 1000, 10, 1010), 0.7), (PixelBox(20, 1000, 30, 1010), 0.9)]
    sheds = [(PixelBox(20, 1001, 30, 1010), 0.8)]
    composite, model = image(BOX, ponds, sheds), detector(BlobDetector().eval())
    assert np.allclose(sorted(rs.detect(composite, model).score), [0.7, 0.8, 0.9])
    assert len(rs.detect(composite, model, score=0.75)) == 2
    best = rs.detect(composite, model, agnostic=True)
    assert sorted(best["class"]) == [3, 3]
    assert len(rs.detect(composite, model, agnostic=True, iou=0.95)) == 3


def test_a_lazy_composite_is_read() -> None:
    model = detector(BlobDetector().eval())
    composite = image(BOX, **scene())
    lazy = rs.detect(composite.chunk({"y": 77, "x": 90}), model)
    assert lazy.equals(rs.detect(composite, model))


def test_windows_that_have_more_than_are_kept_are_told(caplog: pytest.LogCaptureFixture) -> None:
    model = detector(BlobDetector().eval(), most=2)
    with caplog.at_level("INFO", "rsscale"):
        rs.detect(image(BOX, **scene()), model)
    assert "windows have more than 2 objects, and keep as many; raise 'most'" in caplog.text


def test_a_model_of_a_folder_is_opened(tmp_path: Any) -> None:
    model = detector(Named(PeakDetector()).eval())
    rs.save_model(model, tmp_path / "model")
    composite = image(BOX, ponds=[(PixelBox(3, 1000, 4, 1001), 0.9)])
    folder = rs.ModelFolder.at(tmp_path / "model", trust=True, device="cpu")
    found = rs.detect(composite, folder)
    assert set(found.model) == {folder.digest}
    assert found.geometry.equals(rs.detect(composite, model).geometry)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (object(), r"a object does not say .* which objects it finds; use rsscale\.open_model"),
        (detector(Returns([]).eval()), "returns a list of 0 for one window"),
    ],
)
def test_what_finds_nothing_is_refused(model: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        rs.detect(image(BOX), model)


def test_a_model_of_pixels_is_refused() -> None:
    from box_model import BoxModel

    with pytest.raises(ModelError, match=r"model 'box' maps .*use rsscale\.predict"):
        rs.detect(xr.DataArray(), BoxModel())


def test_an_image_between_the_pixels_is_refused() -> None:
    composite = image(BOX)
    off = composite.assign_coords(x=composite.x + 3.0)
    with pytest.raises(AreaError, match="origin"):
        rs.detect(off, detector(BlobDetector().eval()))
    assert isinstance(composite.odc.geobox, GeoBox)


def test_a_lazy_image_is_computed_in_strips_and_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, composite = detector(BlobDetector().eval(), "outlines"), image(BOX, **scene())
    whole = rs.detect(composite, model)
    monkeypatch.setattr("rsscale.composites.strips.STRIP_BYTES", 1)  # one window wide and high
    computed = []

    def recorded(inputs: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
        computed.append(inputs["s2"].shape[-2:])
        return in_memory(inputs)

    monkeypatch.setattr("rsscale.detection.detect.in_memory", recorded)
    found = rs.detect(composite.chunk(y=20, x=100), model)
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(whole))
    assert found.attrs["counts"] == whole.attrs["counts"]
    window = model.spec.lattice.window
    assert len(computed) > 40
    assert max(rows for rows, _ in computed) <= window
    assert max(cols for _, cols in computed) <= window


def test_a_core_beyond_the_image_has_no_objects() -> None:
    far = GRID.geobox_of(PixelBox(5000, 5000, 5100, 5100))
    found = rs.detect(image(BOX, **scene()), detector(BlobDetector().eval()), core=far)
    assert len(found) == 0
    assert found.attrs["counts"] == {}
