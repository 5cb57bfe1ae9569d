"""Parse JSON that others wrote, with bounds: what comes out can be written and compared again.

JSON in the wild holds NaN, numbers of a thousand digits, halves of characters, and brackets without
end. Here such a value becomes a text, which says what it was to whoever reads the field and
disturbs nobody else; what is too deep or too large is refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 64
"""Groups in groups: STAC needs about ten, geometries and PROJJSON among them."""

MAX_BYTES = 2**29
"""Of one document: 512 MiB are a few hundred thousand items."""

_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_WIDE = (b"0" * 19, b"e000", b"e+000")
_ODD_TEXT = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")
_CONSTANTS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}  # as STAC writes them


class DocumentError(ValueError):
    """Bytes are no JSON, or more than a document may hold; the message says what and where."""


def read_json(body: bytes, most: int = MAX_BYTES) -> Any:
    """The value of a JSON document.

    Parameters
    ----------
    body : bytes
    most : int
        Bytes that it may have.

    Returns
    -------
    Any
        Numbers are finite and, where whole, fit 64 bits; NaN, infinities and wider numbers are
        texts. Texts are valid Unicode without NUL. At most :data:`MAX_DEPTH` deep.

    Raises
    ------
    DocumentError
        When it is no JSON, too large or too deep.
    """
    if len(body) > most:
        raise DocumentError(f"it has {len(body)} bytes; expected at most {most}")
    if _may_be_deep(body):
        raise DocumentError(f"it has groups in more than {MAX_DEPTH} groups")
    numbers: dict[str, Any] = {}
    if _may_be_wide(body):
        numbers = {"parse_int": _whole, "parse_float": _decimal}
    try:
        value = json.loads(body, parse_constant=_CONSTANTS.__getitem__, **numbers)
    except RecursionError:
        raise DocumentError(f"it has groups in more than {MAX_DEPTH} groups") from None
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from None
    return _clean(value) if b"\\u" in body and _ODD_TEXT.search(body) else value


def kind_of(value: Any) -> str:
    """What a JSON value is, for a message: the kind, with short values."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value!r}"[:60]
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def finite(value: Any) -> Any:
    """A copy of a JSON value in which NaN and infinities are texts, as STAC writes them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _may_be_wide(body: bytes) -> bool:
    """Whether a number may have more digits than 64 bits hold, or a power of ten of three."""
    digits = body.translate(_DIGITS)  # a regular expression takes ten times as long
    return any(number in digits for number in _WIDE)


def _may_be_deep(body: bytes) -> bool:
    """Whether brackets are nested too deep; brackets within texts count only if they must."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    brackets = body.translate(None, _OTHERS)
    for _ in range(MAX_DEPTH):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    if not brackets:
        return False
    # Texts hold brackets too, or the document is cut short or deep: count what is no text.
    depth = deepest = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', body, re.DOTALL):
        first = token[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            return True
    return False


def _whole(text: str) -> int | float | str:
    if len(text) < 19:
        return int(text)
    if len(text) <= 20 and -(2**63) <= int(text) < 2**63:
        return int(text)
    return _decimal(text)


def _decimal(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text[:80]


def _clean(value: Any) -> Any:
    """A copy whose texts are valid Unicode without NUL."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "�")
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value
