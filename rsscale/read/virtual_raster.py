"""Sources of virtual rasters, which GDAL does not miss a second time.

GDAL keeps the sources of all virtual rasters of a process in one pool, by their names. One that
could not be opened stays in it as if it held nothing, and whatever names it next reads nodata,
without an error. So sources are looked for before, and one that was not there is remembered here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio

from rsscale.errors import ReadError
from rsscale.net.hrefs import shown

_NESTED = 8  # virtual rasters inside one another
_FILE = re.compile(r"^(SourceFilename|SourceDataset)$")

_lock = threading.Lock()
_missing: set[str] = set()


def virtual_sources(dataset: rasterio.DatasetReader, path: str) -> tuple[str, ...]:
    """Names of all that a virtual raster is made of; none for other files.

    Parameters
    ----------
    dataset : rasterio.DatasetReader
    path : str
        As GDAL opened it, on a disk or in a bucket.
    """
    if dataset.driver != "VRT":
        return ()
    return tuple(dict.fromkeys(_sources(dataset.tags(ns="xml:VRT").get("xml:VRT", ""), path, 0)))


def check_sources(names: Sequence[str]) -> None:
    """Refuse a virtual raster with a source that is not there, or once was not.

    Raises
    ------
    ReadError
    """
    for name in names:
        if _is_path(name) and not Path(name).exists():
            raise ReadError(f"its source {name} is not there")
    with _lock:
        known = next((name for name in names if name in _missing), None)
    if known is not None:
        raise ReadError(
            f"its source {shown(known)} could not be opened before in this process, and GDAL would "
            "now give nodata; start again"
        )


def note_failure(names: Sequence[str], message: str) -> None:
    """Remember the sources that a message of GDAL names."""
    with _lock:
        _missing.update(name for name in names if name in message and not _is_missing(name))


def _is_missing(name: str) -> bool:
    """Whether it is looked for anew each time."""
    return _is_path(name) and not Path(name).exists()


def _is_path(name: str) -> bool:
    return not name.startswith("/vsi") and ":" not in name and not name.lstrip().startswith("<")


def _sources(xml: str, path: str, depth: int) -> Iterator[str]:
    try:
        root = ET.fromstring(xml)  # noqa: S314 -- GDAL has read it before
    except ET.ParseError:
        return
    for element in root.iter():
        text = (element.text or "").strip()
        if not _FILE.match(element.tag) or not text:
            continue
        is_relative = element.get("relativeToVRT") == "1"
        name = f"{path.rpartition('/')[0]}/{text}" if is_relative else text
        yield name
        if _is_path(name) and name.lower().endswith(".vrt") and depth < _NESTED:
            yield from _nested(Path(name), depth + 1)


def _nested(path: Path, depth: int) -> Iterator[str]:
    try:
        xml = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    yield from _sources(xml, str(path), depth)
