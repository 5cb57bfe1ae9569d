"""Compare a map with a reference, block by block, away from its training labels.

Matrices have the map's classes in rows and the reference's in columns; see
:mod:`rsscale.accuracy.confusion`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import xarray as xr

from rsscale.accuracy.confusion import Accuracy, check_values, confusion_matrix
from rsscale.accuracy.evaluation_blocks import BlockLattice, count_pairs
from rsscale.errors import AreaError, ModelError, RecipeError
from rsscale.geo.georeference import geobox_of
from rsscale.geo.grid import Grid
from rsscale.geo.ground import scale_of
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.legend.values import (
    check_known,
    class_values,
    declared_nodata,
    listed,
    named_counts,
    names_beside,
    unknown_values,
)
from rsscale.progress.bars import progress
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import geopandas as gpd

# What a layer says its classes by.
_FLAGS = {"flag_values", "flag_meanings", "flag_colors"}

# Width over height of a pixel on the ground may differ by so much from 1.
_SQUARE = 0.05

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
    design: Literal["random"] | None = None,
    unknown: Literal["count", "refuse"] = "count",
) -> Accuracy:
    """Compare a map with a reference, block by block.

    Parameters
    ----------
    classification : DataArray
        ``(y, x)`` class values, lazy or not. Nodata is 255, NaN, and what its ``nodata`` or
        ``_FillValue`` says. A few thousand pixels across are in memory at a time.
    reference : callable, DataArray or path
        Class values, nodata likewise: a function of a box of the grid's pixels, an array on the
        map's pixels, or a raster file, of which each pixel of the map takes the value nearest
        to its centre, whatever the file's CRS.
    grid : Grid, optional
        In metres, feet or Web Mercator; of the map's own pixels, anchored to the CRS, when
        omitted.
    classes : sequence of LandClass, optional
        The map's flag attributes when omitted.
    exclude : shapely geometry or GeoDataFrame, optional
        Training labels; a geometry is in the grid's CRS. Only blocks that lie wholly at least
        ``distance`` from them count.
    distance, block : float
        Metres on the ground. Blocks are counted from the grid's origin, and are a whole number
        of pixels; where the projection's scale changes over the map, it is that at its centre.
    design : "random", optional
        Says that a reference of single pixels is a simple random sample. Without a word the
        design of such a sample is not known: the figures are then those of the sample, without
        intervals, since another design needs weights.
    unknown : str
        What to do with reference values that are no class of the map: ``"count"`` leaves them out
        and says so, unless they are the majority; ``"refuse"`` takes none.

    Returns
    -------
    Accuracy
        Its ``notes`` say what was left out, and why.

    Raises
    ------
    AreaError
        When the grid's pixels have no one width on the ground, as in degrees, the reference does
        not lie on the map's pixels, or no block is left.
    RecipeError
        For a negative distance, or a block of no width.
    ModelError
        When classes are not known, the map holds a value that is none of its classes, a value is
        no whole number from 0 to 254, or the reference is of other classes.
    """
    if not (distance >= 0 and 0 < block < np.inf):
        raise RecipeError(
            f"distance is {distance:g} m and block {block:g} m; expected a distance of 0 or more, "
            "and a block wider than 0"
        )
    grid = grid or _grid_of(classification)
    classes = tuple(classes or classes_from_attributes(classification.attrs))
    extent = grid.box_of(_geobox(classification))
    metres = _square_metres(grid, extent)
    lattice = BlockLattice(
        grid, max(round(block / (grid.resolution * metres)), 1), _parts(exclude, grid), distance
    )
    mapped = _class_reader(classification, extent, "the map")
    notes = names_beside(_names_of(reference), classes, holder="the reference")
    counts = _BlockCounts(mapped, _reader(reference, grid, extent), extent, lattice, classes)
    pieces = list(lattice.pieces(extent))
    with progress("accuracy", len(pieces), "pieces") as bar:
        for piece in pieces:
            counts.add(piece)
            bar.advance()
    counts.check_unknown(unknown)
    accuracy = counts.accuracy(lattice.size * grid.resolution * metres, design)
    return replace(accuracy, notes=(*notes, *accuracy.notes))


_Reader = Callable[[PixelBox], npt.NDArray[np.uint8]]


class _BlockCounts:
    """Counts of blocks with a reference that keep their distance from labels."""

    def __init__(
        self,
        mapped: _Reader,
        reference: _Reader,
        extent: PixelBox,
        lattice: BlockLattice,
        classes: tuple[LandClass, ...],
    ) -> None:
        self.mapped, self.reference, self.extent = mapped, reference, extent
        self.lattice, self.classes = lattice, classes
        self.values = tuple(c.value for c in classes)
        self.cells: list[npt.NDArray[np.int64]] = []  # (b, 2) each
        self.counts: list[npt.NDArray[np.int64]] = []  # (b, K + 1, K) each
        self.areas: list[npt.NDArray[np.float64]] = []  # the same
        self.unknown: Counter[int] = Counter()
        self.by_value: Counter[int] = Counter()
        self.alone = 0

    def add(self, piece: PixelBox) -> None:
        far = self.lattice.keeps_distance(piece)
        if not far.any():
            return
        inside = piece & self.extent
        numbers = self.lattice.block_numbers(piece, inside)
        numbers = np.where(far.ravel()[numbers], numbers, -1)
        reference = np.where(numbers >= 0, self.reference(inside), np.uint8(NODATA))
        self._count_reference(reference)
        if not np.isin(reference, self.values).any():
            return
        mapped = self.mapped(inside)
        check_values(mapped, reference)
        check_known(mapped, self.classes, holder="the map")
        areas = np.broadcast_to(pixel_areas(self.lattice.grid, inside), inside.shape)
        blocks, counts, sums = count_pairs(mapped, reference, numbers, self.values, areas)
        corner = np.array([piece.row0, piece.col0]) // self.lattice.size
        self.cells.append(corner + np.stack(np.divmod(blocks, far.shape[1]), axis=1))
        self.counts.append(counts)
        self.areas.append(sums)

    def _count_reference(self, reference: npt.NDArray[np.uint8]) -> None:
        """Count the reference's values, and its pixels without a neighbour."""
        pixels = np.bincount(reference.ravel(), minlength=256)
        self.by_value.update({int(v): int(pixels[v]) for v in np.flatnonzero(pixels)})
        self.unknown.update(unknown_values(reference, self.classes))
        known = reference != NODATA
        beside = np.zeros(known.shape, bool)
        beside[1:] |= known[:-1]
        beside[:-1] |= known[1:]
        beside[:, 1:] |= known[:, :-1]
        beside[:, :-1] |= known[:, 1:]
        self.alone += int((known & ~beside).sum())

    def check_unknown(self, unknown: str) -> None:
        """Refuse a reference of other classes.

        Raises
        ------
        ModelError
        """
        known = sum(self.by_value[value] for value in self.values)
        none = self.unknown.total()
        if none and (unknown == "refuse" or none > known):
            raise ModelError(
                f"the reference holds {named_counts(self.unknown)}, which is no class of the map: "
                f"{listed(self.classes)}; is it the reference of another map, such as one of "
                "change? If the value means that nothing is known, declare it as nodata"
            )

    def accuracy(self, width: float, design: str | None) -> Accuracy:
        if not sum(map(len, self.cells)):
            raise AreaError(self._why_none(width))
        counts = np.concatenate(self.counts)
        is_sample = design is None and 2 * self.alone > self.by_value.total() - self._none
        return Accuracy(
            classes=self.classes,
            cells=np.concatenate(self.cells),
            blocks=counts[:, :-1],
            unmapped=counts[:, -1],
            areas=np.concatenate(self.areas),
            block=width,
            is_sample=is_sample,
            notes=tuple(self._notes(is_sample)),
        )

    def _why_none(self, width: float) -> str:
        """Why no block is left, of those that hold a pixel of the map."""
        total = near = labelled = 0
        for piece in self.lattice.pieces(self.extent):
            far = self.lattice.keeps_distance(piece)
            inside = piece & self.extent
            numbers = self.lattice.block_numbers(piece, inside)
            known = np.isin(self.reference(inside), self.values)
            mapped = np.unique(numbers[self.mapped(inside) != NODATA])
            total += len(mapped)
            near += int((~far.ravel()[mapped]).sum())
            labelled += int((~far.ravel()[np.unique(numbers[known])]).sum())
        distance = self.lattice.distance
        where = f"lie within {distance:g} m of" if distance > 0 else "hold"
        why = f"none of the map's {counted(total, 'block')} of {width:g} m can be measured: "
        if near < total:
            has_one = "has" if labelled == 1 else "have"
            of_these = f" ({labelled:,} of these {has_one} a reference)" if near else ""
            why += f"{near:,} {where} training labels{of_these}, the others have no reference"
        else:
            why += f"all {where} training labels"
        if not labelled:
            return f"{why}; give another reference, or see that its CRS and place are the map's"
        smaller = "a smaller distance or block" if distance > 0 else "a smaller block"
        return (
            f"{why}; choose {smaller}, or a reference that the model was not trained on: labels "
            "that were kept back, or a sample"
        )

    @property
    def _none(self) -> int:
        return self.by_value[NODATA]

    def _notes(self, is_sample: bool) -> Iterator[str]:
        if self.unknown:
            yield f"left out of the reference: {named_counts(self.unknown)}, no class of the map"
        there = {value for value in self.by_value if value != NODATA}
        if there == {0, 1} and len(self.classes) > 2:
            yield (
                f"the reference holds 0 and 1 alone, of {len(self.classes)} classes: is it one of "
                "change?"
            )
        if is_sample:
            yield (
                "the reference is a sample of single pixels whose design is not known, so that "
                "there are no intervals and no areas: the figures are the map's where it is a "
                "simple random sample (design 'random'); a stratified one needs weights"
            )


def _names_of(reference: Reference) -> Mapping[int, str]:
    """What a reference calls its values; empty where it does not say."""
    if isinstance(reference, str | Path):
        from rsscale.legend.attribute_table import read_legend

        return read_legend(Path(reference)).names
    if isinstance(reference, xr.DataArray) and reference.attrs.keys() >= _FLAGS:
        return {c.value: c.name for c in classes_from_attributes(reference.attrs)}
    return {}


def _reader(
    reference: Reference, grid: Grid, extent: PixelBox
) -> Callable[[PixelBox], npt.NDArray[np.uint8]]:
    """The reference as a function of a box."""
    if isinstance(reference, str | Path):
        from rsscale.reference.class_raster import RasterOnGrid

        return RasterOnGrid(Path(reference), grid).read
    if not isinstance(reference, xr.DataArray):
        if not callable(reference):
            raise ModelError(
                f"the reference is a {type(reference).__name__}; expected a path, a DataArray on "
                "the map's pixels such as ds.classification, or a function of a box"
            )
        return reference
    own = grid.box_of(_geobox(reference))
    if own != extent:
        raise AreaError(
            f"the reference covers rows and columns {own} of the grid, the map {extent}; crop "
            "both to the same area"
        )

    return _class_reader(reference, extent, "the reference")


def _class_reader(layer: xr.DataArray, extent: PixelBox, holder: str) -> _Reader:
    """A layer as uint8 class values of a box."""
    nodata = declared_nodata(layer)

    def read(box: PixelBox) -> npt.NDArray[np.uint8]:
        rows, cols = box.slices(extent)
        return class_values(layer.isel(y=rows, x=cols).values, nodata, holder=holder)

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


def _square_metres(grid: Grid, extent: PixelBox) -> float:
    """Metres on the ground of a unit of the grid's CRS at the centre of an extent.

    Raises
    ------
    AreaError
        When they are not the same along both axes, so that no block is square.
    """
    scale = scale_of(grid.geobox_of(extent))
    if abs(scale.x / scale.y - 1) > _SQUARE:
        name = pyproj.CRS.from_user_input(grid.crs).name
        raise AreaError(
            f"blocks and distances need pixels that are square on the ground; in {name} they are "
            f"{grid.resolution * scale.x:.4g} m wide and {grid.resolution * scale.y:.4g} m high "
            "here: map on a projected CRS, such as the area's UTM zone"
        )
    return (scale.x + scale.y) / 2
