"""Scene records: all that reading needs to know of an item, resolved once.

Planning resolves what STAC says, in whatever dialect, into these records
(:mod:`rsscale.items.item_index`); workers read them and know nothing of STAC.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self, overload

import numpy as np

from rsscale.text.redaction import dropped_names, shown, strip_secrets

# Values that every record has; and those that may be missing behind them, where they say nothing:
# index, count, assumed, footprint.
_VALUES = 10
_NOT_SAID = (None, None, (), None)
# Bands of per cent, of which 0 is a value, though some catalogues declare it to be nodata.
PERCENTAGES = frozenset({
    "cloud", "clouds", "cld", "clp", "cldprb", "msk_cldprb", "cloud_probability", "cloud_prob",
    "cloudprobability", "snow", "snw", "snwprb", "msk_snwprb", "snow_probability", "snow_prob",
    "s2cloudless", "probability",
})  # fmt: skip
_SUFFIX = re.compile(r"(\.tiff?|-jp2)$")
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
RESOLUTION_SUFFIX = re.compile(r"_(\d+)m$")


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A band's name without what catalogues add to it.

    Lower case, without the suffix of a file (``QA_PIXEL.TIF``), a resolution (``SCL_20m``) or
    the ``oa_`` of Digital Earth Australia's observation attributes (``oa_fmask``).
    """
    bare = RESOLUTION_SUFFIX.sub("", _SUFFIX.sub("", name.lower()))
    return bare.removeprefix("oa_")


def is_percentage(name: str) -> bool:
    """Whether a band of this name is known to hold probabilities or cover in per cent."""
    return plain(name) in PERCENTAGES


@dataclass(frozen=True)
class BandRecord:
    """One band of one item: the file that holds it, and how its numbers are meant.

    Attributes
    ----------
    asset : str
        The asset's key in the item, for messages.
    url : str
        Path or address of the file.
    dtype : str or None
        NumPy type of the file's numbers, such as ``"<u2"``; ``None``: the file decides.
    nodata : float or None
        In the file's own numbers; ``None``: the file decides.
    scale, offset : float
        ``value = number * scale + offset``.
    categorical : bool
        Whether the item says that the numbers are codes or bits.
    crs : str or None
        Used where the file has none, as the transform.
    transform : tuple of 6 floats or None
        From (column, row) to (x, y).
    shape : (height, width) or None
        Pixels.
    index : int or None
        Number of the band in the file, from 1; ``None``: the file holds one band.
    count : int or None
        Bands that the item says the file has.
    assumed : tuple of str
        Which of ``"dtype"`` and ``"nodata"`` the item does not say: they are those of its
        product's specification, and the file may know better.
    footprint : (west, south, east, north) or None
        Degrees: the item's footprint, where its ``proj:`` fields say nothing or contradict it.
        The file then says where it lies.
    """

    asset: str
    url: str
    dtype: str | None = None
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    categorical: bool = False
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    shape: tuple[int, int] | None = None
    index: int | None = None
    count: int | None = None
    assumed: tuple[str, ...] = ()
    footprint: tuple[float, float, float, float] | None = None

    def __repr__(self) -> str:
        return f"BandRecord({self.asset!r}, {shown(self.url)!r})"

    @property
    def itemsize(self) -> int:
        """Bytes of a number; two where the type is not known, as imagery nearly always has."""
        return 2 if self.dtype is None else np.dtype(self.dtype).itemsize

    def without_secrets(self) -> list[Any]:
        """The record as JSON, without tokens in the address.

        Each value has its fixed place, in the order of the attributes; new ones come last. Of
        the values behind ``shape``, the last that say nothing are left out.
        """
        newer = [self.index, self.count, self.assumed, self.footprint]
        while newer and newer[-1] == _NOT_SAID[len(newer) - 1]:
            newer.pop()
        return [
            self.asset, strip_secrets(self.url), self.dtype, self.nodata, self.scale, self.offset,
            int(self.categorical), self.crs, self.transform, self.shape, *newer,
        ]  # fmt: skip

    def deciding(self) -> list[Any]:
        """What decides pixels, as JSON.

        Not the key of the asset, nor what is only compared with the file: shape, count,
        footprint, what is assumed.
        """
        _, *values, _ = self.without_secrets()[:_VALUES]
        return values if self.index is None else [*values, self.index]

    @classmethod
    def read(cls, values: list[Any]) -> Self:
        """Inverse of :meth:`without_secrets`; also of records that lack the newest values."""
        asset, url, dtype, nodata, scale, offset, categorical, crs, transform, shape = values[
            :_VALUES
        ]
        newer = [*values[_VALUES:], *_NOT_SAID[len(values) - _VALUES :]]
        index, count, assumed, footprint = newer
        return cls(
            asset, url, dtype, nodata, scale, offset, bool(categorical), crs,
            None if transform is None else tuple(transform),
            None if shape is None else (shape[0], shape[1]),
            index,
            count,
            tuple(assumed),
            None if footprint is None else tuple(footprint),
        )  # fmt: skip


@dataclass(frozen=True)
class SceneRecord:
    """One item: a slice of a cube along time.

    Attributes
    ----------
    id : str
    microseconds : int
        When it was acquired: since 1970, UTC.
    day : int
        The day by the sun where the scene lies, in days since 1970.
    sign : str or None
        How access is gained, a name of :mod:`rsscale.net.signing`.
    bands : tuple of BandRecord
        In the order of the bands that are read.
    collection : str or None
        An id is unique in its collection only.
    dropped : tuple of str
        Names of what its addresses lost when it was written, for messages: never values.
    """

    id: str
    microseconds: int
    day: int
    sign: str | None
    bands: tuple[BandRecord, ...]
    collection: str | None = None
    dropped: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, str | None]:
        """Id and collection: what tells it from every other item."""
        return self.id, self.collection

    @property
    def order(self) -> tuple[int, str, str]:
        """Sort key: moment, id, collection."""
        return self.microseconds, self.id, self.collection or ""

    @property
    def moment(self) -> np.datetime64:
        """When it was acquired, UTC, in microseconds."""
        return np.datetime64(self.microseconds, "us")

    @property
    def solar_day(self) -> np.datetime64:
        """The solar day at the scene's longitude."""
        return np.datetime64(self.day, "D")

    def to_bytes(self) -> bytes:
        """The record as JSON, without tokens."""
        bands = [band.without_secrets() for band in self.bands]
        names = [name for band in self.bands for name in dropped_names(band.url)]
        dropped = list(dict.fromkeys([*self.dropped, *names]))
        content = [self.id, self.microseconds, self.day, self.sign, bands, self.collection]
        return _json([*content, dropped] if dropped else content)

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Inverse of :meth:`to_bytes`."""
        name, microseconds, day, sign, bands, *newer = json.loads(record)
        collection, *dropped = newer or [None]  # records of older runs lack the newest values
        read = tuple(map(BandRecord.read, bands))
        return cls(name, microseconds, day, sign, read, collection, tuple(*dropped))

    def digest(self) -> bytes:
        """Hash of what decides pixels, 16 bytes.

        All but the key of an asset, what is only compared with the file (shape, footprint,
        what is assumed) and how access is gained: the signer, tokens, user names.
        """
        deciding = [self.id, self.microseconds, self.day]
        for band in self.bands:
            deciding += band.deciding()
        return hashlib.sha256(_json(deciding)).digest()[:16]


@dataclass(frozen=True)
class Scenes:
    """Records of the same bands, sorted by (moment, id, collection): what a cube is built from.

    Attributes
    ----------
    names : tuple of str
        The bands, as they were asked for.
    codes : tuple of bool
        Which bands hold codes or bits by their name alone.
    records : tuple of SceneRecord
    """

    names: tuple[str, ...]
    codes: tuple[bool, ...]
    records: tuple[SceneRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[SceneRecord]:
        return iter(self.records)

    @overload
    def __getitem__(self, number: int) -> SceneRecord: ...
    @overload
    def __getitem__(self, number: slice) -> Self: ...
    def __getitem__(self, number: int | slice) -> SceneRecord | Self:
        if isinstance(number, slice):
            return type(self)(self.names, self.codes, self.records[number])
        return self.records[number]

    def reached_by(self, access: str | None) -> Self:
        """The same, with access gained as the recipe says now: it may change during a run."""
        if all(record.sign == access for record in self):
            return self
        records = tuple(replace(record, sign=access) for record in self)
        return type(self)(self.names, self.codes, records)

    def is_categorical(self, column: int) -> bool:
        """Whether a band holds codes: by its name, or as one of the items declares."""
        return self.codes[column] or any(record.bands[column].categorical for record in self)


def _json(value: Any) -> bytes:
    # repr of a float gives its bits back; NaN and infinities are nodata values too.
    return _ENCODER.encode(value).encode()
