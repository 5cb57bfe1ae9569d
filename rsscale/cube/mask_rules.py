"""Rules of masks and of nodata: which numbers of a band mean what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest

NONE = "none"
"""How a recipe writes that every number of a band is a value."""

_KEYS = ("keep", "drop", "bits", "fields", "unseen")


@dataclass(frozen=True)
class MaskRule:
    """Which values of a band make an observation unusable: by codes to keep or to drop, or by bits.

    Attributes
    ----------
    band : str
        A band of codes or bits; it is left out of the masked cube.
    keep : tuple of int, optional
        Codes that are usable. All others are dropped, also those that no specification
        knows: a new class is not taken for clear ground.
    drop : tuple of int, optional
        Codes that are dropped; all others are usable.
    bits : tuple of int, optional
        Bit numbers, 0 the lowest; a value with any of them set is dropped.
    fields : tuple of (first bit, last bit, values), optional
        Numbers of several bits, such as a confidence; a value with any of these numbers in
        the field is dropped. Single bits need none: of a field of two bits, ``bits`` can say
        "2 or 3" (the upper bit) and "not 0" (both), but not "3 alone" or "1 alone".
    unseen : tuple of int, optional
        Values that say that nothing was seen there: invalid whatever the rest of the rule says,
        but no cloud that a dilation would grow. Given, also empty, they are all of them, whatever
        nodata the band declares; omitted, they are its declared nodata. Beyond the edge of the
        band's files nothing was seen in any case.

    Fractions, which no code or bit field has, count with their whole part for bits and are
    unknown codes. Bits and codes that the type of the band's files does not have are refused
    (:meth:`check_type`).
    """

    band: str
    keep: tuple[int, ...] | None = None
    drop: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None
    fields: tuple[tuple[int, int, tuple[int, ...]], ...] | None = None
    unseen: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        by_bits = self.bits is not None or self.fields is not None
        given = [n for n in ("keep", "drop") if getattr(self, n) is not None]
        given += ["bits"] if by_bits else []
        if len(given) != 1:
            raise RecipeError(
                f"the mask by band {self.band!r} has {' and '.join(given) or 'no rule'}; "
                "give exactly one of keep, drop, bits (and fields)"
            )
        if self.bits is not None and not all(0 <= bit < 64 for bit in self.bits):
            raise RecipeError(f"mask bits are {list(self.bits)}; bit numbers go from 0 to 63")
        for first, last, values in self.fields or ():
            if not 0 <= first <= last < 64:
                raise RecipeError(
                    f'the mask field is "{first}-{last}"; bit numbers go up, from 0 to 63'
                )
            if not all(0 <= value < 2 ** (last - first + 1) for value in values):
                raise RecipeError(
                    f'values of the mask field "{first}-{last}" are {list(values)}; '
                    f"it holds 0 to {2 ** (last - first + 1) - 1}"
                )

    def check_type(self, kind: np.dtype[Any]) -> None:
        """Refuse bits and codes that no number of a type has: the rule is of another band.

        Parameters
        ----------
        kind : numpy.dtype
            Of the band's files. Nothing is refused of fractions.

        Raises
        ------
        RecipeError
        """
        if kind.kind not in "iu":
            return
        width, limits = 8 * kind.itemsize, np.iinfo(kind)
        named = [(f"bits name bit {bit}", bit) for bit in self.bits or ()]
        named += [(f'fields name "{low}-{high}"', high) for low, high, _ in self.fields or ()]
        for said, bit in named:
            if bit >= width:
                self._refuse(said, f"is {kind}, which has bits 0 to {width - 1}")
        for key in ("keep", "drop", "unseen"):
            for code in getattr(self, key) or ():
                if not limits.min <= code <= limits.max:
                    holds = f"is {kind}, which holds {limits.min} to {limits.max}"
                    self._refuse(f"{key} names {code}", holds)

    def _refuse(self, said: str, holds: str) -> NoReturn:
        raise RecipeError(
            f"the mask by band {self.band!r}: {said}, and the band {holds}; correct the rule, or "
            "name the band that it is for"
        )

    def dropped(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Mask of unusable values of the band, which are all finite."""
        if self.keep is not None:
            return ~is_one_of(codes, self.keep)
        if self.drop is not None:
            return is_one_of(codes, self.drop)
        return self._flagged(_unsigned(codes))

    def _flagged(self, flags: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        width = 8 * flags.dtype.itemsize  # higher bits are never set
        single = sum(1 << bit for bit in set(self.bits or ()) if bit < width)
        hit: npt.NDArray[np.bool_] = (flags & flags.dtype.type(single)) != 0
        for first, last, values in self.fields or ():
            if first < width:
                most = (1 << (min(last + 1, width) - first)) - 1
                field = (flags >> flags.dtype.type(first)) & flags.dtype.type(most)
                hit |= is_one_of(field, values)
        return hit


def is_one_of(codes: npt.NDArray[Any], values: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Mask of codes that are one of a few values; faster than ``numpy.isin`` for a dozen."""
    out = np.zeros(codes.shape, bool)
    for value in values:
        out |= codes == value
    return out


def _unsigned(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # By way of int64: what a negative float is as an unsigned number is undefined.
    whole = codes.astype("int64") if codes.dtype.kind == "f" else codes
    return whole.view(f"u{whole.dtype.itemsize}")


PRESETS: dict[str, MaskRule] = {
    # Classes of Sen2Cor's scene classification (Sentinel-2 L2A Algorithm Theoretical Basis
    # Document; sentiwiki.copernicus.eu, S2 Processing, Level-2A). Kept are 4 vegetation,
    # 5 not vegetated, 6 water, 7 unclassified, 11 snow or ice. Class 7 is mostly clear
    # ground that fits no other class: leaving it out loses towns and bare fields. Dropped
    # are 0 no data, 1 saturated or defective, 2 dark area (topographic shadow since
    # baseline 04.00, much missed cloud shadow before), 3 cloud shadow, 8 and 9 cloud of
    # medium and high probability, 10 thin cirrus.
    "sentinel2-scl": MaskRule("scl", keep=(4, 5, 6, 7, 11), unseen=(0,)),
    # Bits of QA_PIXEL of Landsat Collection 2, Level 1 and 2 (USGS, Landsat 8-9 Collection 2
    # Level 2 Science Product Guide, LSDS-1619; of Landsat 4-7, LSDS-1618, where bit 2 is
    # unused). Dropped are 0 fill, 1 dilated cloud, 2 cirrus of high confidence, 3 cloud,
    # 4 cloud shadow; 5 snow, 6 clear and 7 water are no reason. Bits 8 to 15 are the
    # confidences of cloud, shadow, snow and cirrus, two bits each (0 not set, 1 low, 2 medium,
    # for cloud only, 3 high); bits 2 to 4 say where theirs is high. Fill is the value 1.
    "landsat-qa-pixel": MaskRule("qa_pixel", bits=(0, 1, 2, 3, 4), unseen=(1,)),
    # Codes of Fmask itself (Zhu and Woodcock 2012, Remote Sensing of Environment 118; Zhu,
    # Wang and Woodcock 2015, 159; github.com/GERSL/Fmask), as CFmask has them. Kept are
    # 0 clear land, 1 clear water, 3 snow; dropped 2 cloud shadow, 4 cloud; 255 is fill.
    "fmask": MaskRule("fmask", keep=(0, 1, 3), unseen=(255,)),
    # Codes of python-fmask (pythonfmask.org), which Digital Earth Australia's and Africa's
    # Landsat ARD carry (Geoscience Australia, ga_ls8c_ard_3, measurement oa_fmask). Kept
    # are 1 valid, 4 snow, 5 water; dropped 2 cloud, 3 shadow; 0 is nodata.
    "dea-fmask": MaskRule("oa_fmask", keep=(1, 4, 5), unseen=(0,)),
    # Bits of Fmask in Harmonized Landsat Sentinel-2 (HLS Product User Guide v2.0, table of
    # the quality assessment layer). Dropped are 1 cloud, 2 adjacent to cloud or shadow,
    # 3 cloud shadow; 4 snow or ice and 5 water are no reason. Bit 0, cirrus, is reserved
    # and not used; bits 6-7 are the aerosol level (3 high: {"fields": {"6-7": [3]}}).
    "hls-fmask": MaskRule("fmask", bits=(1, 2, 3), unseen=(255,)),
}


MaskLike = str | Mapping[str, Any] | MaskRule
"""A preset's name, a mapping of a recipe, or a rule."""


def mask_rules(by: MaskLike | Sequence[MaskLike]) -> tuple[MaskRule, ...]:
    """One rule or several, each of a band of its own."""
    is_single = isinstance(by, (str, Mapping, MaskRule))
    rules = tuple(map(mask_rule, [by] if is_single else by))  # type: ignore[arg-type]
    bands = [rule.band for rule in rules]
    twice = [band for band in bands if bands.count(band) > 1]
    if twice or not rules:
        raise RecipeError(
            f"the mask has two rules of band {twice[0]!r}; join them into one"
            if twice
            else "the mask is an empty list; give a preset or a band with keep, drop or bits"
        )
    return rules


def mask_rule(by: MaskLike) -> MaskRule:
    """The rule that a preset's name or a mapping of a recipe stands for."""
    if isinstance(by, MaskRule):
        return by
    if isinstance(by, str):
        if by not in PRESETS:
            raise RecipeError(
                f"there is no mask {by!r}; there are {', '.join(PRESETS)}{nearest(by, PRESETS)}, "
                "or give a band with keep, drop or bits"
            )
        return PRESETS[by]
    known = ("band", *_KEYS)
    for key in by:
        if key not in known:
            raise RecipeError(
                f"a mask has no key {key!r}; expected {', '.join(known)}{nearest(str(key), known)}"
            )
    if not isinstance(by.get("band"), str):
        raise RecipeError("a mask needs band: the name of a band of codes or bits")
    return MaskRule(
        by["band"],
        keep=_codes("keep", by.get("keep")),
        drop=_codes("drop", by.get("drop")),
        bits=_codes("bits", by.get("bits")),
        fields=_fields(by.get("fields")),
        unseen=_codes("unseen", by.get("unseen")),
    )


def _codes(key: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise RecipeError(f"mask {key} is {value!r}; expected a list of whole numbers")
    if any(isinstance(v, bool) or not isinstance(v, int | np.integer) for v in value):
        raise RecipeError(f"mask {key} is {list(value)}; expected a list of whole numbers")
    if key == "keep" and not value:
        raise RecipeError("mask keep is empty, which keeps nothing; name the codes that are clear")
    return tuple(int(v) for v in value)


def _fields(value: Any) -> tuple[tuple[int, int, tuple[int, ...]], ...] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise RecipeError(f'mask fields are {value!r}; expected {{"first-last bit": [numbers]}}')
    fields = []
    for place, numbers in value.items():
        match = re.fullmatch(r"(\d+)-(\d+)", str(place))
        if not match:
            raise RecipeError(f'mask field {place!r}: expected its bits as "first-last"')
        fields.append((int(match[1]), int(match[2]), _codes(f"field {place}", numbers) or ()))
    return tuple(fields)


def nodata_rule(nodata: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """What :func:`rsscale.cube.build.build_cube` takes, from a number or none for each band.

    Raises
    ------
    RecipeError
        When one is neither a number nor none.
    """
    rule: dict[str, tuple[float, ...]] = {}
    for band, value in nodata.items():
        if value is None or value == NONE:
            rule[band] = ()
        elif isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise RecipeError(f"nodata of {band!r} is {value!r}; expected a number, or {NONE!r}")
        else:
            rule[band] = (float(value),)
    return rule


def check_nodata(band: str, values: Iterable[float], kind: np.dtype[Any] | None) -> None:
    """Refuse numbers for nodata of a band that its type does not have: none would be nodata.

    Parameters
    ----------
    band : str
    values : iterable of float
        Of :func:`nodata_rule`; NaN is no number, and says nothing of whole ones.
    kind : numpy.dtype or None
        Of the band's files; nothing is refused where it is not known.

    Raises
    ------
    RecipeError
    """
    if kind is None or kind.kind not in "iu":
        return
    limits = np.iinfo(kind)
    for value in values:
        if not math.isnan(value) and not (limits.min <= value <= limits.max and value % 1 == 0):
            raise RecipeError(
                f"nodata of {band!r} is {value:g}, and the band is {kind}, which holds whole "
                f"numbers from {limits.min} to {limits.max}; give one of them, or {NONE!r}, in "
                "'nodata' or in 'unseen' of its mask"
            )
