"""Sources of virtual rasters, which GDAL does not miss a second time.

GDAL keeps the sources of all virtual rasters of a process in one pool, by their names. One that
could not be opened stays in it as if it held nothing, and whatever names it next reads nodata,
without an error. So sources are looked for before, and one that could not be opened is remembered
here: a file on a disk is then opened by another way of writing its path, ``/a/./b.tif``.
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

# Parts of a path that lead nowhere else.
_HERE = re.compile(r"(?:/\.)+(?=/)")

_lock = threading.Lock()
# Sources that could not be opened, by their plain names, with how many such parts are to be put in.
_missing: dict[str, int] = {}


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

    Parameters
    ----------
    names : sequence of str
        Of :func:`virtual_sources`, after :func:`renewed`.

    Raises
    ------
    ReadError
    """
    for name in names:
        if _is_path(name) and not Path(name).exists():
            raise ReadError(f"its source {plain_name(name)} is not there")
    with _lock:
        known = next((name for name in names if _is_known(name)), None)
    if known is not None:
        raise ReadError(
            f"its source {shown(known)} could not be opened before in this process, and GDAL would "
            "now give nodata; start again"
        )


def renewed(dataset: rasterio.DatasetReader, path: str, names: Sequence[str]) -> str | None:
    """A virtual raster as text, in which sources that could not be opened have names of their own.

    Parameters
    ----------
    dataset : rasterio.DatasetReader
    path : str
        As GDAL opened it.
    names : sequence of str
        Of :func:`virtual_sources`.

    Returns
    -------
    str or None
        For GDAL to open; ``None`` where all could be opened.
    """
    with _lock:
        if not any(_is_known(name) for name in names):
            return None
        root = ET.fromstring(dataset.tags(ns="xml:VRT")["xml:VRT"])  # noqa: S314 -- as below
        for element, name in _elements(root, path):
            element.text = _renamed(name) if _is_path(name) else name
            element.set("relativeToVRT", "0")
    return ET.tostring(root, encoding="unicode")


def note_failure(names: Sequence[str], message: str) -> None:
    """Remember the sources that a message of GDAL names."""
    with _lock:
        for name in names:
            # Of a file that it began to read GDAL may say the last part of the name alone.
            said = name.rpartition("/")[2] if _is_path(name) else name
            if said in message and not _is_missing(name):
                plain = plain_name(name)
                _missing[plain] = max(_missing.get(plain, 0), _parts(name)) + 1


def _is_known(name: str) -> bool:
    """Whether GDAL remembers by this name that it could not open it."""
    return _parts(name) < _missing.get(plain_name(name), 0)


def _renamed(name: str) -> str:
    """Another name of a file, by which GDAL does not know it; the same where it opened it."""
    folder, mark, file = plain_name(name).rpartition("/")
    number = _missing.get(plain_name(name), 0)
    return f"{folder}{'/.' * number}/{file}" if mark and number else name


def plain_name(name: str) -> str:
    """A path without the parts that :func:`renewed` puts in, the same in every process."""
    return _HERE.sub("", name) if _is_path(name) else name


def _parts(name: str) -> int:
    return sum(len(match[0]) // 2 for match in _HERE.finditer(name)) if _is_path(name) else 0


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
    for _, name in _elements(root, path):
        yield name
        if _is_path(name) and name.lower().endswith(".vrt") and depth < _NESTED:
            yield from _nested(Path(name), depth + 1)


def _elements(root: ET.Element, path: str) -> Iterator[tuple[ET.Element, str]]:
    """What names a source, with the name as seen from here."""
    folder = path.rpartition("/")[0]
    for element in root.iter():
        text = (element.text or "").strip()
        if _FILE.match(element.tag) and text:
            is_relative = element.get("relativeToVRT") == "1" and folder
            yield element, f"{folder}/{text}" if is_relative else text


def _nested(path: Path, depth: int) -> Iterator[str]:
    try:
        xml = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    yield from _sources(xml, str(path), depth)
