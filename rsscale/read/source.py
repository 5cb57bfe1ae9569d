"""One asset to read, and what its item says of it."""

from __future__ import annotations

from dataclasses import dataclass

from rsscale.net.hrefs import shown


@dataclass(frozen=True)
class Source:
    """One asset to read.

    Attributes
    ----------
    item, asset : str
        Whose it is, for messages.
    url : str
        Path or URL, as GDAL or rasterio understand it.
    resampling : str
        A key of :data:`METHODS`, used where the grids differ.
    nodata : float or None
        What the item declares; ``None`` means that the file decides.
    crs, transform : optional
        Used where the file itself has none, and compared with it where it has.
    sign : str or None
        How access is gained, a name of :mod:`rsscale.net.signing`.
    dtype : str or None
        NumPy type by the item, or by its product.
    shape : (height, width) or None
        By the item.
    assumed : tuple of str
        Which of ``"dtype"`` and ``"nodata"`` are the product's, not the item's.
    footprint : (west, south, east, north) or None
        Degrees; where the file must lie when nothing else says it.
    nodata_among : tuple of float, optional
        Nodata is the declared one if it is one of these, else the first of them, or none.
    zero_is_valid : bool
        Whether 0 is a value of the band, whatever is declared.
    index : int or None
        Number of the band in the file, from 1; ``None``: the file has to hold one band.
    count : int or None
        Bands that the item says the file has.
    dropped : tuple of str
        Names of what the item's addresses lost when they were frozen, for messages.
    name : str or None
        What the cube calls the band, for messages: its asset's key may be another.
    """

    item: str
    asset: str
    url: str
    resampling: str = "bilinear"
    nodata: float | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    sign: str | None = None
    dtype: str | None = None
    shape: tuple[int, int] | None = None
    assumed: tuple[str, ...] = ()
    footprint: tuple[float, float, float, float] | None = None
    nodata_among: tuple[float, ...] | None = None
    zero_is_valid: bool = False
    index: int | None = None
    count: int | None = None
    dropped: tuple[str, ...] = ()
    name: str | None = None

    def __repr__(self) -> str:
        return f"Source({self.item!r}, {self.asset!r}, {shown(self.url)!r})"

    @property
    def band(self) -> int:
        """Number of the band for GDAL."""
        return self.index or 1

    def __str__(self) -> str:
        band = "" if self.index is None else f" band {self.index}"
        return f"item {self.item!r}, asset {self.asset!r}{band}: {shown(self.url)}"
