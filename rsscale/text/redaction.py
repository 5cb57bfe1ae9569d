"""Keep secrets out of whatever is written or shown: addresses, documents, messages.

An address keeps what is known to be needed to find a file, and nothing else: which names carry a
secret cannot be known, which ones address a file can. User names, fragments, parameters behind a
semicolon and all other names of a query are dropped; :func:`dropped_names` says which ones.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from rsscale.text.secret_signs import SCHEME_AND_VALUE, TOKEN, is_secret_name

KEEP_QUERY = "RSSCALE_KEEP_QUERY"
"""Environment variable with more names of a query that address files, comma-separated."""

HEADER_VARIABLES = "RSSCALE_TOKENS"
"""Environment variable with the names of variables that hold values of headers."""

# Names of a query that say which file, which part of it, or in what form. In lower case.
_ADDRESSING = frozenset({
    # versions of an object, and services that stand before files
    "versionid", "generation", "snapshot", "alt", "restype", "comp", "raw", "dl", "download",
    "export", "ref", "branch", "rev", "revision", "version", "inline",
    # the file
    "path", "file", "filename", "filepath", "fname", "f", "format", "fmt", "ext", "type", "name",
    "id", "uuid", "guid", "doi", "pid", "persistentid", "fileid", "file_id", "objectid", "object",
    "resource", "resourceid", "url", "uri", "href", "src", "source", "bucket", "container", "blob",
    "prefix", "folder", "dir", "region",
    # what it holds
    "collection", "collections", "collectionid", "item", "items", "itemid", "asset", "assets",
    "band", "bands", "bidx", "b", "layer", "layers", "layername", "coverage", "coverageid",
    "typename", "typenames", "dataset", "datasetid", "dataset_id", "product", "productid",
    "product_id", "producttype", "scene", "sceneid", "scene_id", "granule", "granuleid",
    "variable", "var", "mission", "platform", "sensor", "orbit", "track", "frame", "path_row",
    "polarization", "polarisation", "level", "tile", "tileid", "tile_id", "mgrs",
    # where and when, and how it is to be given
    "bbox", "crs", "srs", "x", "y", "z", "zoom", "width", "height", "subset", "resolution", "gsd",
    "time", "datetime", "date", "start", "end", "year", "month", "day", "doy",
    "service", "request", "nodata", "unscale", "resampling", "rescale", "scale", "expression",
    "colormap", "colormap_name", "page", "limit", "offset", "lang",
    # GDAL's own, in /vsicurl?…
    "list_dir", "use_head", "empty_dir", "max_retry", "retry_delay",
})  # fmt: skip

_FILE = re.compile(r"[^=]*\.[A-Za-z0-9]{1,5}")
_DROPPED = "…"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`|\\]+")
_TRAILING = ".,;:!)]}…"
_LOCAL_PATH = re.compile(
    r"(?:file://|(?<![\w.:/~…)\]}-])~?)(?:/[^\s/'\"<>|,;:)]+){2,}/?"
    r"|(?<![A-Za-z0-9])[A-Za-z]:\\[^\s'\"<>|,;:]+"
)
_RELATIVE_QUERY = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token|auth)[\w-]*)"
    # What names a variable of the environment, as a recipe's `headers` do, is no secret.
    r"(['\"]?\s*[:=]\s*)(?!\s*(?:…|['\"]?(?:[\w-]+ )?env:\w))"
    r"[^\r\n,;}'\"]*(?:['\"][^'\"]*['\"])?"
)
_NAMED = re.compile(
    r"(?i)\b((?:[\w-]*[_-])?(?:token|secret|passw(?:or)?d|pwd|api[ _-]?key|access[ _-]?key|sig|"
    r"signature|credentials?|session(?:id)?|jwt|bearer|key|user(?:name)?|login))"
    r"(['\"]?\s*[:=]\s*['\"]?)([^\s'\",;&)}]+)"
)
# What a server says in its own words: what is long, and letters among digits, may be a key. Ids of
# collections and items have dashes and underscores between shorter parts.
_RANDOM = re.compile(
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+/=~]{18,}"
)
_SECRET_VARIABLE = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|API_?KEY|ACCESS_?KEY|ACCOUNT_?KEY|BEARER|CREDENTIAL|_SAS|_KEY$"
)


def strip_secrets(href: str) -> str:
    """``href`` with what addresses a file, and nothing that could be a secret.

    Parameters
    ----------
    href : str
        A URL, a path, or a GDAL path such as ``/vsicurl/https://…``. A path on this machine
        stays as it is.
    """
    return _split(href, os.environ.get(KEEP_QUERY, ""))[0]


def dropped_names(href: str) -> tuple[str, ...]:
    """What :func:`strip_secrets` drops of an address, for a message: names, never values."""
    return _split(href, os.environ.get(KEEP_QUERY, ""))[1]


def shown(href: str) -> str:
    """``href`` as it may appear in a message: without user name, query and fragment."""
    if not _is_address(href):
        return href
    return strip_secrets(re.split(r"[?#]", href, maxsplit=1)[0])


def strip_document(value: Any) -> Any:
    """A copy of a JSON value without secrets: for a STAC item that is written.

    Addresses are stripped as by :func:`strip_secrets`, in whatever field they are; fields whose
    name says that they hold a credential, and headers, are left out.
    """
    if isinstance(value, str):
        return _strip_text(value)
    if isinstance(value, dict):
        return {
            key: inner if isinstance(inner, (int, float)) else strip_document(inner)
            for key, inner in value.items()
            if not is_secret_name(key)
        }
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], (int, float)) and not _nested(value):
            return list(value)
        return [strip_document(inner) for inner in value]
    return value


def secret_places(value: Any, place: str = "") -> Iterator[str]:
    """Where a JSON value holds what :func:`strip_document` would take out; names, never values."""
    if isinstance(value, str):
        if strip_document(value) != value:
            yield place
    elif isinstance(value, dict):
        for key, inner in value.items():
            below = f"{place}.{key}" if place else str(key)
            if isinstance(inner, (str, dict, list)) and not strip_document({key: inner}):
                yield below
            else:
                yield from secret_places(inner, below)
    elif isinstance(value, (list, tuple)) and _nested(value):
        for number, inner in enumerate(value):
            yield from secret_places(inner, f"{place}[{number}]")


def strip_addresses(value: Any) -> Any:
    """A copy of a JSON value in which texts that are addresses are stripped; all fields stay."""
    if isinstance(value, str):
        return strip_secrets(value) if "://" in value else value
    if isinstance(value, dict):
        return {key: strip_addresses(inner) for key, inner in value.items()}
    return [strip_addresses(inner) for inner in value] if isinstance(value, list) else value


def scrub(text: str) -> str:
    """A message without queries and user names of addresses, tokens, and secrets of this process.

    Secrets of this process are the values of environment variables whose names say so, and the
    passwords in ``~/.netrc``.
    """
    if "://" in text:
        text = _ADDRESS.sub(lambda match: _shown_in_text(match[0]), text)
    if "?" in text:
        text = _RELATIVE_QUERY.sub("", text)
    text = SCHEME_AND_VALUE.sub(rf"\1 {_DROPPED}", text)
    text = _HEADER.sub(rf"\1\2{_DROPPED}", text)
    text = TOKEN.sub(_DROPPED, text)
    for secret in _own_secrets():
        text = text.replace(secret, _DROPPED)
    return text


def hide_local_paths(text: str) -> str:
    """A text in which paths of this machine have lost their folders: ``…/labels.gpkg``.

    A path that starts at the root, at a drive or at the home folder says who made a product, and
    where, which is nobody's business who reads it; addresses and relative paths stay.
    """
    return _LOCAL_PATH.sub(lambda match: f"{_DROPPED}/{_last_part(match[0])}", text)


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def scrub_answer(text: str, *sent: str) -> str:
    """What a server says in its own words, without what was sent to it and what may be a key.

    Parameters
    ----------
    text : str
    *sent : str
        Addresses and header values of the request: a server may say them again.
    """
    for value in sorted(_values(sent), key=len, reverse=True):
        text = text.replace(value, _DROPPED)
    text = _NAMED.sub(rf"\1\2{_DROPPED}", scrub(text))
    return _RANDOM.sub(_DROPPED, text)


class _Redact(logging.Filter):
    """Libraries log the addresses and headers of what they ask for, token and all."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), ()
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info))
            record.exc_text = scrub(trace).rstrip()
        return True


_REDACT = _Redact()
_TALKATIVE = (
    "urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection", "urllib3.poolmanager",
    "requests", "pystac_client.stac_api_io", "pystac_client.item_search", "pystac_client.client",
    "rasterio._env", "rasterio._err", "rasterio.session", "distributed.worker",
    "distributed.scheduler",
)  # fmt: skip


def redact_logs() -> None:
    """Keep tokens out of what libraries log; calling it again changes nothing."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_REDACT)


def _is_address(href: str) -> bool:
    return "://" in href or href[:4].lower() == "/vsi"


@lru_cache(maxsize=4096)
def _split(href: str, more: str) -> tuple[str, tuple[str, ...]]:
    """What is kept of an address, and the names of what is dropped."""
    if not _is_address(href):
        return href, ()
    names: list[str] = []
    head, hash_mark, _ = href.partition("#")
    if hash_mark:
        names.append("the fragment")
    head, _, query = head.partition("?")
    head = _strip_user(head, names)
    head = "/".join(_strip_segment(segment, names, more) for segment in head.split("/"))
    pairs = [pair for pair in re.split("[&;]", query) if pair]
    kept = [pair for pair in (_strip_pair(pair, names, more) for pair in pairs) if pair]
    return head + (f"?{'&'.join(kept)}" if kept else ""), tuple(dict.fromkeys(names))


def _strip_user(head: str, names: list[str]) -> str:
    start = head.rfind("://")
    if start < 0 or "@" not in head[start:]:
        return head
    before, rest = head[: start + 3], head[start + 3 :]
    authority, slash, path = rest.partition("/")
    if "@" not in authority:
        port = authority.rpartition(":")[2]
        if ":" not in authority or port.isdigit() or "@" not in path:
            return head
        # A password with a slash in it: what looks like a port is its beginning.
        names.append("the user name")
        return before + path.rpartition("@")[2]
    names.append("the user name")
    return before + authority.rpartition("@")[2] + slash + path


def _strip_segment(segment: str, names: list[str], more: str) -> str:
    name, *parameters = segment.split(";")
    kept = [parameter for parameter in parameters if _keeps(parameter, more)]
    if len(kept) < len(parameters):
        names.append("parameters after ';'")
    if TOKEN.search(name):
        names.append("a token in its path")
        name = TOKEN.sub(_DROPPED, name)
    return ";".join([name, *kept])


def _keeps(parameter: str, more: str) -> bool:
    """Whether a parameter behind a semicolon addresses the file, or is the end of its name."""
    name, equals, value = parameter.partition("=")
    if not equals:
        return bool(_FILE.fullmatch(parameter)) and not TOKEN.search(parameter)
    return _addresses(name, more) and not TOKEN.search(value)


def _strip_pair(pair: str, names: list[str], more: str) -> str:
    raw, equals, value = pair.partition("=")
    name = unquote_plus(raw)
    if not equals and "://" in name:  # ?https://…, as some services take an address
        return strip_secrets(name)
    if not _addresses(name, more):
        names.append(name if equals and not TOKEN.search(name) else "a value without a name")
        return ""
    plain = unquote_plus(value)
    if TOKEN.search(plain):
        names.append(name)
        return ""
    if _is_address(plain):
        stripped, inner = _split(plain, more)
        names.extend(inner)
        return pair if stripped == plain else f"{raw}={stripped}"
    return pair


def _addresses(name: str, more: str) -> bool:
    """Whether a parameter of this name says which file: a known one, or one that a person named."""
    low = name.lower()
    return low in _ADDRESSING or (low in _more_names(more) and not is_secret_name(name))


@lru_cache(maxsize=8)
def _more_names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


def _strip_text(text: str) -> str:
    if _is_address(text):
        # An address that is all of the text, or several within words.
        text = (
            strip_secrets(text)
            if not re.search(r"\s", text)
            else _ADDRESS.sub(lambda match: strip_secrets(match[0]), text)
        )
    if "eyJ" in text or TOKEN.search(text):
        text = TOKEN.sub(_DROPPED, text)
    return SCHEME_AND_VALUE.sub(rf"\1 {_DROPPED}", text) if "ea" in text or "as" in text else text


def _nested(values: Any) -> bool:
    return any(isinstance(value, (dict, list, tuple, str)) for value in values)


def _shown_in_text(address: str) -> str:
    bare = address.rstrip(_TRAILING)
    return shown(bare) + address[len(bare) :]


def _values(sent: tuple[str, ...]) -> set[str]:
    """Parts of what was sent that would be a secret, in each way of writing them."""
    values = set()
    for text in sent:
        if "://" in text:
            head, _, tail = text.partition("://")[2].partition("?")
            user = head.partition("/")[0].rpartition("@")[0]
            parts = [user, *user.split(":"), *re.split(r"[&;#]", tail)]
            parts += [part.partition("=")[2] for part in parts]
        else:
            parts = [text, *text.split()]
        values |= {form for part in parts for form in (part, unquote_plus(part)) if len(form) > 3}
    return values


def _own_secrets() -> list[str]:
    """Secrets that this process was given, longest first."""
    secrets = {
        value
        for name, value in os.environ.items()
        if len(value) > 5
        and not value.startswith("/")
        and name != HEADER_VARIABLES
        and _SECRET_VARIABLE.search(name.upper())
    }
    names = os.environ.get(HEADER_VARIABLES, "").split(",")
    secrets |= {os.environ.get(name.strip(), "").strip() for name in names} - {""}
    secrets |= _netrc_passwords(os.environ.get("NETRC", os.path.expanduser("~/.netrc")))  # noqa: PTH111
    return sorted(secrets, key=len, reverse=True)


@lru_cache(maxsize=4)
def _netrc_passwords(path: str) -> frozenset[str]:
    import netrc

    try:
        hosts = netrc.netrc(path).hosts.values()
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return frozenset()
    return frozenset(password for _, _, password in hosts if password and len(password) > 3)
