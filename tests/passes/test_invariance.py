"""The map does not depend on how the work was cut: tiles, processes, workers, previews."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from landscape import Landscape

import rsscale as rs
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.read import reader

LAYERS = ("classification", "confidence", "observations")
pytestmark = pytest.mark.slow
# The engine does not see how large a tile is, the tile function not where it is computed.
CUTS = [
    pytest.param(384, "", marks=pytest.mark.extended),
    (512, "two_workers"),
    pytest.param(2048, "", marks=pytest.mark.extended),
    pytest.param(1024, "two_workers", marks=pytest.mark.extended),
]


def over_the_area(path: Path) -> xr.Dataset:
    """The map over the area's box; each tile size has a product of another extent."""
    ds = rs.Run(path).open()
    return ds.sel(x=slice(729_000, 744_910), y=slice(4_989_510, 4_979_990)).load()


def mapped(landscape: Landscape, out: Path, tile: int, client: object = None) -> xr.Dataset:
    recipe = landscape.recipe(grid={"crs": "EPSG:32631", "resolution": 10, "tile": tile})
    rs.run(recipe, out / f"run-{tile}", client, threads=2, device="cpu")
    return over_the_area(out / f"run-{tile}")


@pytest.fixture(scope="module")
def reference(landscape_run: Path) -> xr.Dataset:
    return over_the_area(landscape_run)


def differing(one: xr.Dataset, other: xr.Dataset) -> dict[str, int]:
    assert one.sizes == other.sizes
    np.testing.assert_allclose(one.x, other.x, atol=1e-6)
    np.testing.assert_allclose(one.y, other.y, atol=1e-6)
    return {name: int((one[name].values != other[name].values).sum()) for name in LAYERS}


def test_the_case_is_a_real_one(reference: xr.Dataset) -> None:
    classes = reference.classification.values
    inside = reference.observations.values != 255
    assert inside.sum() > 9 * 224**2  # at least nine windows
    assert set(np.unique(classes)) == {1, 2, 3, 255}
    assert (classes[inside] == 255).any()  # some pixels were never seen clearly
    counts = np.unique(reference.observations.values)
    assert counts[:2].tolist() == [0, 1]
    assert counts[-2] > len("wwww")  # observations of both zones


@pytest.mark.parametrize(("tile", "workers"), CUTS)
def test_every_tile_size_and_worker_count_gives_the_same_map(
    landscape: Landscape,
    reference: xr.Dataset,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    tile: int,
    workers: str,
) -> None:
    client = request.getfixturevalue(workers) if workers else None
    found = mapped(landscape, tmp_path, tile, client)
    assert differing(found, reference) == dict.fromkeys(LAYERS, 0)


def in_a_part(landscape: Landscape, reference: xr.Dataset, out: Path) -> dict[str, int]:
    """Six tiles where scenes of both zones meet: their pixels that are not those of the whole."""
    found = rs.run(landscape.part(), out / "part", threads=2, device="cpu").open().load()
    whole = reference.reindex(
        x=found.x, y=found.y, method="nearest", tolerance=1e-3, fill_value=255
    )
    inside = (whole.observations != 255) & (found.observations != 255)
    assert inside.values.sum() > 224**2
    return differing(found.where(inside, 255), whole.where(inside, 255))


def test_a_part_gives_the_same_map(
    landscape: Landscape, reference: xr.Dataset, tmp_path: Path
) -> None:
    assert in_a_part(landscape, reference, tmp_path) == dict.fromkeys(LAYERS, 0)


def test_windows_anchored_to_the_tile_would_be_seen(
    landscape: Landscape, reference: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_the_corner(self: Lattice, box: PixelBox) -> Iterator[PixelBox]:
        for row in range(box.row0, box.row1, self.stride):
            for col in range(box.col0, box.col1, self.stride):
                yield PixelBox(row, col, row + self.stride, col + self.stride)

    monkeypatch.setattr(Lattice, "cores", from_the_corner)
    assert in_a_part(landscape, reference, tmp_path)["confidence"] > 0


def test_warps_anchored_to_the_tile_would_be_seen(
    landscape: Landscape, reference: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "warp_regions", lambda box: iter([(box, [box])]))
    assert in_a_part(landscape, reference, tmp_path)["confidence"] > 0


def test_a_preview_equals_the_run(landscape: Landscape, reference: xr.Dataset) -> None:
    bbox = (5.955, 44.97, 5.99, 45.0)
    found = rs.preview(landscape.recipe(), bbox, threads=2, device="cpu")
    part = reference.sel(x=found.x.values, y=found.y.values, method="nearest", tolerance=1e-3)
    assert found.sizes["x"] > 200
    assert found.classification.dims == part.classification.dims
    assert differing(found, part) == dict.fromkeys(LAYERS, 0)
    assert set(np.unique(found.classification)) >= {1, 2, 3}


def test_pixels_outside_the_area_are_nodata_in_every_layer(
    landscape: Landscape, reference: xr.Dataset
) -> None:
    import geopandas as gpd
    import shapely

    area = gpd.read_file(landscape.folder / "area.gpkg").geometry.iloc[0]
    x, y = np.meshgrid(reference.x.values, reference.y.values)
    inside = shapely.contains_xy(area, x, y)
    for name in LAYERS:
        assert (reference[name].values[0][~inside] == 255).all()
    assert (reference.observations.values[0][inside] != 255).all()
