"""JSON of others: bounded, and without what can't be written again."""

import json

import pytest

from rsscale.documents import MAX_DEPTH, DocumentError, finite, read_json


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[NaN, -Infinity, Infinity]", ["nan", "-inf", "inf"]),
        (b"[1e999, 5]", ["1e999", 5]),
        (b"[9223372036854775807, 9223372036854775808]", [2**63 - 1, 2.0**63]),
        (b"[" + b"9" * 5000 + b"]", ["9" * 80]),
        (b'"a\\u0000\\ud800b"', "a�?b"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
        (json.dumps([[[1]] * 90] * 90).encode(), [[[1]] * 90] * 90),
    ],
)
def test_what_is_read(body, value):
    assert read_json(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10**6,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_what_is_too_deep(body):
    with pytest.raises(DocumentError, match="groups in more than"):
        read_json(body)


def test_what_is_no_json_or_too_large():
    for body in (b"", b"{", b"\xff", b'{"a":1}x'):
        with pytest.raises(DocumentError, match="not JSON"):
            read_json(body)
    with pytest.raises(DocumentError, match="at most 3"):
        read_json(b"[1, 2]", 3)


def test_finite_replaces_what_json_has_not():
    assert finite({"a": [float("nan"), 1.5, (float("-inf"),)]}) == {"a": ["nan", 1.5, ["-inf"]]}
