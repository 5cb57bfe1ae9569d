"""CRS of STAC's projection extension, as text that pyproj reads.

https://github.com/stac-extensions/projection
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pyproj import CRS
from pyproj.exceptions import ProjError

Fields = Mapping[str, Any]

# EPSG's own numbers go to 32767; others have used larger ones.
_LARGEST_CODE = 10_000_000


def crs_text(own: Fields, common: Fields) -> str | None:
    """The first CRS that can be read: the asset's, in any form, before the item's.

    The forms are ``proj:code``, ``proj:epsg``, ``proj:wkt2`` and ``proj:projjson``. A bare number
    is an EPSG code; a code that is none (``EPSG:None``, 0, an empty string) is as if it were not
    there, so that another form, or the file, decides.

    Parameters
    ----------
    own, common : mapping
        Fields of the asset, and properties of its item.
    """
    for scope in (own, common):
        for text in _texts(scope):
            if _read(text) is not None:
                return text
    return None


def unreadable_crs(own: Fields, common: Fields) -> str | None:
    """A CRS that is written down and cannot be read, for a message."""
    texts = (text for scope in (own, common) for text in _texts(scope))
    return next((text for text in texts if _read(text) is None), None)


def parse_crs(text: str) -> CRS:
    """The CRS of a text that can be read.

    Raises
    ------
    pyproj.exceptions.CRSError
        When it cannot.
    """
    crs = _read(text)
    return CRS.from_user_input(text) if crs is None else crs


def _texts(scope: Fields) -> Iterator[str]:
    yield from _code(scope.get("proj:code"))
    yield from _code(scope.get("proj:epsg"))
    wkt = scope.get("proj:wkt2")
    if isinstance(wkt, str) and wkt:
        yield wkt
    if scope.get("proj:projjson"):
        yield from _wkt(json.dumps(scope["proj:projjson"], sort_keys=True))


def _code(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        code = value.strip()
        yield f"EPSG:{code}" if code.isascii() and code.isdigit() else code
    elif isinstance(value, (int, float)) and _is_code(value):
        yield f"EPSG:{int(value)}"


def _is_code(value: float) -> bool:
    is_number = not isinstance(value, bool) and 0 <= value <= _LARGEST_CODE
    return is_number and value == value // 1


@lru_cache(maxsize=1024)
def _read(text: str) -> CRS | None:
    try:
        return CRS.from_user_input(text)
    except ProjError:
        return None


@lru_cache(maxsize=256)
def _wkt(projjson: str) -> tuple[str, ...]:
    """WKT of PROJJSON, as a list of one; what cannot be read stays as it is."""
    try:
        return (str(CRS.from_json(projjson).to_wkt()),)
    except (ProjError, ValueError, TypeError):
        return (projjson,)
