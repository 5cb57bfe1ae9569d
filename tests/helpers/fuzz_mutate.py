"""Mutations of documents and of bytes, drawn by hypothesis."""

from __future__ import annotations

import copy
import json

from hypothesis import strategies as st


def _deep():
    """Two hundred lists, one in another."""
    made: list = []
    for _ in range(200):
        made = [made]
    return made


DEEP = _deep()

JUNK = [
    None, True, False, 0, -1, 1, 255, 10**9, 10**18, 10**25, 10**400, 0.5, 1e300, -1e300,
    float("nan"), float("inf"), float("-inf"), "", "x", "nan", "none", "null", "2023-13-45",
    "2023-02-30T25:61:00Z", "0000-00-00", "EPSG:None", "EPSG:4326", "EPSG:999999", "../../x",
    "/nowhere/a.tif", "file:///etc/hostname", "a\0b", "\ud800", "{}", "1e999", "é" * 300,
    [], [[]], [None], [1, 2], [1e300] * 4, [float("nan")] * 6, ["a", 1], [0] * 6, [-1, -1],
    [10**9, 10**9], {}, {"a": 1}, {"href": 5}, {"type": "Point", "coordinates": [1e300, "x"]},
    {"type": "Polygon", "coordinates": [[[0, 0], [400, 0], [1e9, 90], [0, 0]]]}, DEEP,
]  # fmt: skip
BYTES = [b"", b"\0", b"\xff" * 8, b"[" * 5000, b'{"a":' * 300, b"NaN", b"\x7f\xff\xff\xff", b"{}"]
# What only YAML makes something of.
YAML = [
    "2023-13-45", "2001-12-14t21:59:43.10-99:99", "1:99:99", "0b", "0x_", "!!int x", "&a [*a]",
    "*a", "!!python/object:os.system x", "? [a]", "!!binary x", "<<: 3", "9" * 5000, ".inf",
    "[" * 400, "{a: " * 200, "'", "\t", "- - - - -", "%TAG", "=", "!!set {a}", "1e999999", "~",
]  # fmt: skip

changes = st.lists(
    st.tuples(
        st.integers(0, 2**20),
        st.sampled_from(["replace"] * 6 + ["delete", "wrap", "rename", "double"]),
        st.sampled_from(JUNK),
    ),
    min_size=1,
    max_size=3,
)
cuts = st.lists(
    st.tuples(
        st.integers(0, 2**30),
        st.sampled_from(["flip", "cut", "insert", "zero", "swap"]),
        st.one_of(st.integers(0, 255).map(lambda n: bytes([n])), st.sampled_from(BYTES)),
    ),
    min_size=1,
    max_size=6,
)
yaml_edits = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(YAML)), min_size=0, max_size=2
)


def places(value, place=()):
    """The place of each value below one, as keys and numbers."""
    found = [place]
    if not isinstance(value, (dict, list)) or len(place) > 30:
        return found
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        found += places(below, (*place, key))
    return found


def mutate(document, edits):
    """A copy of a JSON document with some places changed."""
    document = {"": copy.deepcopy(document)}
    for number, how, junk in edits:
        every = places(document)[1:]
        if not every:
            break
        *parents, last = every[number % len(every)]
        scope = document
        for key in parents:
            scope = scope[key]
        if how == "delete":
            del scope[last]
        elif how == "wrap":
            scope[last] = [scope[last]]
        elif how == "double" and isinstance(scope[last], list):
            scope[last] = scope[last] * 2
        elif how == "rename" and isinstance(scope, dict) and len(parents):
            scope[str(junk)[:50]] = scope.pop(last)
        else:
            scope[last] = _deep() if junk is DEEP else copy.deepcopy(junk)
    return document.get("")


def mutate_bytes(content, edits):
    """Bytes with some changed, inserted or cut off; the first are hit more often."""
    out = bytearray(content)
    for number, how, junk in edits:
        span = (len(out), 64, 1024)[number % 3] or 1
        at = (number // 3) % max(min(span, len(out)), 1)
        if how == "flip" and out:
            out[at] ^= (junk or b"\1")[0] or 1
        elif how == "cut":
            del out[at:]
        elif how == "insert":
            out[at:at] = junk
        elif how == "zero":
            out[at : at + 16] = bytes(16)
        else:
            out[at : at + len(junk)] = junk
    return bytes(out)


def as_json(document):
    """JSON as a careless server writes it: NaN and all."""
    return json.dumps(document).encode()
