"""Compare a map with a reference, block by block, away from its training labels.

Matrices have the map's classes in rows and the reference's in columns; see
:mod:`rsscale.accuracy.confusion`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr

from rsscale.accuracy.confusion import Accuracy, check_values, confusion_matrix
from rsscale.accuracy.evaluation_blocks import BlockLattice, count_pairs
from rsscale.errors import AreaError
from rsscale.geo.georeference import geobox_of
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.model.spec import LandClass, classes_from_attributes
from rsscale.progress import progress

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Accuracy", "Reference", "assess", "confusion_matrix"]

Reference = Callable[[PixelBox], npt.NDArray[np.uint8]] | xr.DataArray | str | Path
"""Reference classes: a function of boxes of the grid's pixels, an array, or a raster file."""


def assess(
    classification: xr.DataArray,
    reference: Reference,
    *,
    grid: Grid | None = None,
    classes: Sequence[LandClass] | None = None,
    exclude: shapely.Geometry | gpd.GeoDataFrame | None = None,
    distance: float = 1000.0,
    block: float = 1000.0,
) -> Accuracy:
    """Compare a map with a reference, block by block.

    Parameters
    ----------
    classification : DataArray
        ``(y, x)`` uint8 class values, lazy or not; 255 is nodata. A few thousand pixels across
        are in memory at a time.
    reference : callable, DataArray or path
        Class values, 255 where there is none: a function of a box of the grid's pixels, an
        array on the map's pixels, or a raster file, of which each pixel of the map takes the
        value nearest to its centre, whatever the file's CRS.
    grid : Grid, optional
        In metres; of the map's own pixels, anchored to the CRS, when omitted.
    classes : sequence of LandClass, optional
        The map's flag attributes when omitted.
    exclude : shapely geometry or GeoDataFrame, optional
        Training labels; a geometry is in the grid's CRS. Only blocks that lie wholly at least
        ``distance`` from them count.
    distance, block : float
        Metres. Blocks are counted from the grid's origin, and are a whole number of pixels.

    Raises
    ------
    AreaError
        When the grid is not in metres, the reference does not lie on the map's pixels, or no
        block is left.
    ModelError
        When classes are not known, or values are not uint8.
    """
    grid = grid or _grid_of(classification)
    _check_metres(grid)
    classes = tuple(classes or classes_from_attributes(classification.attrs))
    extent = grid.box_of(_geobox(classification))
    lattice = BlockLattice(
        grid, max(round(block / grid.resolution), 1), _parts(exclude, grid), distance
    )
    counts = _BlockCounts(
        classification, _reader(reference, grid, extent), extent, lattice, classes
    )
    pieces = list(lattice.pieces(extent))
    with progress("accuracy", len(pieces), "pieces") as bar:
        for piece in pieces:
            counts.add(piece)
            bar.advance()
    return counts.accuracy()


class _BlockCounts:
    """Counts of blocks with a reference; of the others, how many are too near to labels."""

    def __init__(
        self,
        classification: xr.DataArray,
        read: Callable[[PixelBox], npt.NDArray[np.uint8]],
        extent: PixelBox,
        lattice: BlockLattice,
        classes: tuple[LandClass, ...],
    ) -> None:
        self.classification, self.read, self.extent = classification, read, extent
        self.lattice, self.classes = lattice, classes
        self.cells: list[npt.NDArray[np.int64]] = []  # (b, 2) each
        self.counts: list[npt.NDArray[np.int64]] = []  # (b, K + 1, K) each
        self.total = self.near = 0

    def add(self, piece: PixelBox) -> None:
        far = self.lattice.keeps_distance(piece)
        self.total += far.size
        self.near += int((~far).sum())
        if not far.any():
            return
        inside = piece & self.extent
        reference = self.read(inside)
        values = tuple(c.value for c in self.classes)
        if not np.isin(reference, values).any():
            return
        rows, cols = inside.slices(self.extent)
        mapped = self.classification.isel(y=rows, x=cols).values
        check_values(mapped, reference)
        numbers = self.lattice.block_numbers(piece, inside)
        numbers = np.where(far.ravel()[numbers], numbers, -1)
        blocks, counts = count_pairs(mapped, reference, numbers, values)
        corner = np.array([piece.row0, piece.col0]) // self.lattice.size
        self.cells.append(corner + np.stack(np.divmod(blocks, far.shape[1]), axis=1))
        self.counts.append(counts)

    def accuracy(self) -> Accuracy:
        width = self.lattice.size * self.lattice.grid.resolution
        if not sum(map(len, self.cells)):
            raise AreaError(
                f"none of {self.total:,} blocks of {width:g} m can be measured: {self.near:,} lie "
                f"within {self.lattice.distance:g} m of training labels, the others have no "
                "reference; choose a smaller distance or block, or another reference"
            )
        counts = np.concatenate(self.counts)
        return Accuracy(
            classes=self.classes,
            cells=np.concatenate(self.cells),
            blocks=counts[:, :-1],
            unmapped=counts[:, -1],
            pixel_area=self.lattice.grid.resolution**2,
            block=width,
        )


def _reader(
    reference: Reference, grid: Grid, extent: PixelBox
) -> Callable[[PixelBox], npt.NDArray[np.uint8]]:
    """The reference as a function of a box."""
    if isinstance(reference, str | Path):
        from rsscale.reference.class_raster import RasterOnGrid

        return RasterOnGrid(Path(reference), grid).read
    if not isinstance(reference, xr.DataArray):
        return reference
    own = grid.box_of(_geobox(reference))
    if own != extent:
        raise AreaError(
            f"the reference covers rows and columns {own} of the grid, the map {extent}; crop "
            "both to the same area"
        )

    def read(box: PixelBox) -> npt.NDArray[np.uint8]:
        rows, cols = box.slices(extent)
        values: npt.NDArray[np.uint8] = reference.isel(y=rows, x=cols).values
        return values

    return read


def _parts(
    exclude: shapely.Geometry | gpd.GeoDataFrame | None, grid: Grid
) -> tuple[shapely.Geometry, ...]:
    """Single geometries in the grid's CRS."""
    if exclude is None:
        return ()
    if isinstance(exclude, shapely.Geometry):
        shapes = np.array([exclude])
    elif exclude.crs is None:
        raise AreaError("the labels to keep away from have no CRS; set it with .set_crs")
    else:
        shapes = exclude.to_crs(grid.crs).geometry.to_numpy()
    return tuple(part for part in shapely.get_parts(shapes) if part and not part.is_empty)


def _geobox(layer: xr.DataArray) -> Any:
    if layer.dims != ("y", "x"):
        raise AreaError(
            f"a layer has the dimensions {layer.dims}; expected ('y', 'x'): choose one time"
        )
    box = geobox_of(layer)
    if box is None or box.crs is None:
        raise AreaError(
            "a layer has no CRS, or coordinates that are no regular grid; use a product's layer"
        )
    return box


def _grid_of(classification: xr.DataArray) -> Grid:
    box = _geobox(classification)
    affine = box.affine
    origin = (affine.c % affine.a, affine.f % affine.a)
    return Grid(str(box.crs), affine.a, origin=origin)


def _check_metres(grid: Grid) -> None:
    import pyproj

    crs = pyproj.CRS.from_user_input(grid.crs)
    unit = crs.axis_info[0].unit_name if crs.axis_info else "unknown unit"
    if not crs.is_projected or unit not in ("metre", "meter"):
        raise AreaError(
            f"distances need a grid in metres, {crs.name} is in {unit}; map on a projected CRS"
        )
