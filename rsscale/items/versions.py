"""Keep the newest version of a scene that an archive lists in several processings.

Counted twice, an observation weighs twice in a median, and two baselines of Sentinel-2 differ by a
constant. So of one scene the newest version is kept. What identifies a scene is its product's
name (Sentinel-2, Landsat), else platform, place on the archive's own grid, orbit and time.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import shapely

from rsscale.geo.antimeridian import on_globe
from rsscale.items.features import Item, item_order, moment
from rsscale.items.products import baseline
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pystac

_log = logging.getLogger(__name__)

# S2A_MSIL2A_20200714T115221_N0214_R123_T28QCH_20200714T191310; some catalogues leave N0214 out.
_S2_PRODUCT = re.compile(
    r"^(S2[A-D])_MSI(L1C|L2A)_(\d{8}T\d{6})_(?:N\d{4}_)?(R\d{3})_T(\d\d[A-Z]{3})_(\d{8}T\d{6})"
)
# S2A_28QCH_20200714_0_L2A: the number counts products of the tile and day.
_S2_NUMBERED = re.compile(r"^(S2[A-D])_(\d{1,2}[A-Z]{3})_(\d{8})_(\d+)_(L1C|L2A)$")
# LC08_L2SP_028030_20200114_20200824_02_T1_SR; some catalogues leave the day of processing out.
_LANDSAT_PRODUCT = re.compile(
    r"^(L[COTEM]\d\d)_L([12])\w\w_(\d{6})_(\d{8})_(?:(\d{8})_)?(\d\d)_(T1|T2|RT)(_\w+)?$"
)
_S2_NAMES = ("s2:product_uri", "sentinel:product_id", "s2:product_id")
_LANDSAT_NAMES = ("landsat:product_id", "landsat:landsat_product_id")
_MADE = ("s2:generation_time", "processing:datetime", "odc:processing_datetime")
# Two parts of one overpass, in datastrips of their own, overlap little; two versions nearly all.
_SAME_PLACE = 0.8
# Granules of one datatake on one tile start within seconds; the next orbit is 100 minutes off.
_SAME_PASS_S = 60.0
# The next datastrip on a tile starts later than this; processed again, one may move a little.
_SAME_STRIP = np.timedelta64(5, "s")

Key = tuple[Any, ...]
Rank = tuple[Any, ...]
AnyItem = TypeVar("AnyItem", bound=Item)


@dataclass(frozen=True)
class Versions:
    """Items without older versions of the same scenes.

    Attributes
    ----------
    items : pystac.ItemCollection
        What is kept, sorted by (datetime, id); the items themselves, not copies.
    left_out : mapping of str to str
        Ids of older versions (``collection/id`` where an id is there twice), each with the id of
        the version that stays.
    """

    items: pystac.ItemCollection
    left_out: Mapping[str, str]

    def __str__(self) -> str:
        """One line: how many were left out, and an example."""
        return _summary(len(self.items), self.left_out)


def newest_versions(items: Iterable[pystac.Item]) -> Versions:
    """Keep of each scene the version that was processed last.

    Two items are versions of one scene when they are of one collection and have

    - the same Sentinel-2 product but for baseline and generation time (satellite, level,
      datatake, orbit, tile), or the same Landsat product but for correction (L2SP or L2SR), tier,
      collection number and day of processing; from the id or from
      ``s2:product_uri``, ``sentinel:product_id`` or ``landsat:product_id``, or
    - the same platform, tile (``grid:code``, ``s2:mgrs_tile``, ``mgrs:…``, ``landsat:wrs_…``),
      orbit, level and assets, sensed within a minute, and something that tells which is newer.

    Never when their datastrips differ or their footprints overlap by less than 80 %: two
    parts of one overpass have the same names but for a time.

    Newest is, in this order: the higher baseline (or Landsat collection), a final over a
    preliminary product (Landsat RT, ``dea:dataset_maturity``), the later generation or
    processing time, the higher running number (``_1_L2A``), the later ``created`` and
    ``updated``, the greater id.

    Parameters
    ----------
    items : ItemCollection or iterable of Item
        In any order; the result does not depend on it.

    Returns
    -------
    Versions
        What is kept, and what was left out for what. A count is logged.

    Raises
    ------
    ItemError
        When an item has no date.
    """
    import pystac

    kept, left_out = keep_newest(items)
    return Versions(pystac.ItemCollection(kept, clone_items=False), left_out)


def keep_newest(items: Iterable[AnyItem]) -> tuple[list[AnyItem], dict[str, str]]:
    """Items that :func:`newest_versions` keeps, sorted by (datetime, id), and those left out.

    Parameters
    ----------
    items : iterable of pystac.Item or Feature
    """
    kept: list[AnyItem] = []
    older: list[tuple[AnyItem, AnyItem]] = []
    by_scene: dict[Key, list[AnyItem]] = {}
    for item in items:
        key = _product(item) or _tile_and_pass(item)
        if key is None or not all(isinstance(part, Hashable) for part in key):
            kept.append(item)  # also one whose fields are broken: it is nobody's version
        else:
            by_scene.setdefault((item.collection_id, *key), []).append(item)
    for several in by_scene.values():
        best: list[AnyItem] = []
        for item in sorted(several, key=_rank, reverse=True):
            newer = next((other for other in best if _same_scene(item, other)), None)
            if newer is None:
                best.append(item)
            else:
                older.append((item, newer))
        kept += best
    kept.sort(key=item_order)
    times = Counter(item.id for item, _ in older)
    left_out = dict(sorted((_name(item, times), newer.id) for item, newer in older))
    if left_out:
        _log.info("%s", _summary(len(kept), left_out))
    return kept, left_out


def _name(item: Item, times: Mapping[str, int]) -> str:
    """The id of an item; with its collection where another one's item has the same."""
    return f"{item.collection_id}/{item.id}" if times[item.id] > 1 else item.id


def _summary(kept: int, left_out: Mapping[str, str]) -> str:
    total = kept + len(left_out)
    if not left_out:
        return f"{counted(total, 'item')}, each the only version of its scene"
    old, new = next(iter(left_out.items()))
    return (
        f"{len(left_out)} of {total} items are older versions of other items and left "
        f"out, such as {old} (there is {new})"
    )


def _product(item: Item) -> Key | None:
    """The parts of a product name that identify the scene, without those of its version."""
    for name in _given(item, _S2_NAMES):
        match = _S2_PRODUCT.match(name)
        if match:
            satellite, level, datatake, orbit, tile, _ = match.groups()
            return "s2", satellite, level, datatake, orbit, tile
    match = _S2_NUMBERED.match(item.id)
    if match:
        satellite, tile, day, _, level = match.groups()
        return "s2", satellite, level, day, tile.zfill(5)
    for name in _given(item, _LANDSAT_NAMES):
        match = _LANDSAT_PRODUCT.match(name)
        if match:
            sensor, level, place, day, *_, part = match.groups()
            # Surface reflectance and temperature may be items of their own.
            suffix = _LANDSAT_PRODUCT.match(item.id)
            return "landsat", sensor, level, place, day, suffix[8] if suffix else part
    return None


def _tile_and_pass(item: Item) -> Key | None:
    """Platform, tile, orbit, level and assets, for items whose names say nothing."""
    properties = item.properties
    tile = next(_tiles(properties), None)
    if not properties.get("platform") or tile is None:
        return None
    same = ("sat:relative_orbit", "sat:absolute_orbit", "processing:level", "s2:product_type")
    return (
        "tile", properties["platform"], tile,
        *(properties.get(name) for name in same), tuple(sorted(item.assets)),
    )  # fmt: skip


def _tiles(properties: Mapping[str, Any]) -> Iterator[Key]:
    groups = (
        ("grid:code",),
        ("s2:mgrs_tile",),
        ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
        ("sentinel:utm_zone", "sentinel:latitude_band", "sentinel:grid_square"),
        ("landsat:wrs_path", "landsat:wrs_row"),
    )
    for group in groups:
        values = tuple(properties.get(name) for name in group)
        if all(value is not None for value in values):
            yield tuple(str(value).lstrip("0") for value in values)


def _same_scene(older: Item, newer: Item) -> bool:
    """Whether two items of one key are versions of each other."""
    strips = [_datastrip(item) for item in (older, newer)]
    if None not in strips and np.ptp(np.array(strips, "datetime64[s]")) > _SAME_STRIP:
        return False
    named = _product(older)
    if named is None and _rank(older)[:-1] == _rank(newer)[:-1]:
        return False  # nothing but the id tells one from the other
    if named is None or _S2_NUMBERED.match(older.id):
        apart = moment(older) - moment(newer)
        if abs(apart.total_seconds()) > _SAME_PASS_S:
            return False
    return _overlap(older, newer) >= _SAME_PLACE


def _datastrip(item: Item) -> datetime | None:
    """When the datastrip was sensed; two of one datatake start at different times."""
    match = re.search(r"_S(\d{8}T\d{6})", str(item.properties.get("s2:datastrip_id", "")))
    return datetime.strptime(match[1], "%Y%m%dT%H%M%S") if match else None  # noqa: DTZ007 -- UTC


def _overlap(first_item: Item, other: Item) -> float:
    """Intersection over union of two footprints; 1 when one is unknown."""
    if not first_item.geometry or not other.geometry:
        return 1.0
    try:
        first, second = (
            shapely.make_valid(on_globe(shapely.geometry.shape(item.geometry)))
            for item in (first_item, other)
        )
        whole = first.union(second).area
    except Exception:  # noqa: BLE001 -- a broken footprint tells nothing
        return 1.0
    return float(first.intersection(second).area / whole) if whole > 0 else 1.0


def _rank(item: Item) -> Rank:
    """Sort key of a version, greater for newer; compared from left to right."""
    properties = item.properties
    major, minor = baseline(item)
    final, made = True, _first_text(properties, _MADE)
    for name in _given(item, _S2_NAMES):
        match = _S2_PRODUCT.match(name)
        if match:
            made = made or match[6]
    for name in _given(item, _LANDSAT_NAMES):
        match = _LANDSAT_PRODUCT.match(name)
        if match:
            *_, day, number, tier, _ = match.groups()
            major, final = int(number), tier != "RT"
            made = made or (day or "")
    final = final and properties.get("dea:dataset_maturity", "final") == "final"
    numbered = _S2_NUMBERED.match(item.id)
    created, updated = (str(properties.get(name) or "") for name in ("created", "updated"))
    return (
        (major, minor), final, _digits(made), int(numbered[4]) if numbered else 0,
        _digits(created), _digits(updated), item.id,
    )  # fmt: skip


def _given(item: Item, names: Iterable[str]) -> list[str]:
    texts = [str(item.properties.get(name) or "") for name in names]
    return [name for name in (*texts, item.id) if name]


def _first_text(properties: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((str(properties[name]) for name in names if properties.get(name)), "")


def _digits(moment: str) -> str:
    """A time's digits, so that "2020-10-06T08:05:31Z" and "20201006T080531" compare."""
    return re.sub(r"\D", "", moment)[:14]
