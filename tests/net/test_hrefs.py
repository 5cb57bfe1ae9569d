"""Addresses made absolute; for secrets see tests/text/test_redaction.py."""

import pytest

from rsscale.net.hrefs import absolute, change_hrefs


@pytest.mark.parametrize(
    ("href", "base", "result"),
    [
        ("./a.tif", "/cat/items/i.json", "/cat/items/a.tif"),
        ("../a.tif", "/cat/items/i.json", "/cat/a.tif"),
        ("/abs/a.tif", "/cat/items/i.json", "/abs/a.tif"),
        ("file:///d/a%20b.tif", "/cat/i.json", "/d/a b.tif"),
        ("https://h/a.tif", "/cat/i.json", "https://h/a.tif"),
        ("s3://b/a.tif", "/cat/i.json", "s3://b/a.tif"),
        ("/vsizip/a.zip/b.tif", "https://h/i.json", "/vsizip/a.zip/b.tif"),
        ("../a.tif", "https://h/c/items/i.json?x=1", "https://h/c/a.tif"),
        ("/a.tif", "https://h/c/i.json", "https://h/a.tif"),
    ],
)
def test_absolute(href, base, result):
    assert absolute(href, base) == result


def test_hrefs_are_changed_at_any_depth_and_nothing_else():
    value = {
        "href": "a",
        "x": [[{"href": "b", "title": "a"}]],
        "href_list": ["a"],
        "y": {"href": 1},
    }
    change_hrefs(value, str.upper)
    expected = {"href": "A", "x": [[{"href": "B", "title": "a"}]], "href_list": ["a"]}
    assert value == {**expected, "y": {"href": 1}}
