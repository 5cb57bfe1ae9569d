"""Addresses made absolute and freed of secrets."""

import pytest

from rsscale.net.hrefs import absolute, map_hrefs, shown, strip_secrets


@pytest.mark.parametrize(
    ("href", "kept"),
    [
        ("https://h/a.tif", "https://h/a.tif"),
        ("https://h/a.tif?sv=1&se=2&sp=r&sig=X%3D", "https://h/a.tif"),
        ("https://h/a.tif?se=2&page=3", "https://h/a.tif?se=2&page=3"),
        (
            "https://h/a.tif?X-Amz-Date=1&versionId=7&x-amz-signature=2",
            "https://h/a.tif?versionId=7",
        ),
        ("https://h/a?Expires=1&Signature=2&Key-Pair-Id=3&b=%20c", "https://h/a?b=%20c"),
        ("https://h/a?access_token=1#part", "https://h/a#part"),
        ("https://me:pw@h:8080/a?token=1", "https://h:8080/a"),
        ("/vsicurl/https://me:pw@h/a?sig=1&x=2", "/vsicurl/https://h/a?x=2"),
        ("/data/a b.tif", "/data/a b.tif"),
        ("/data/me@home/a.tif", "/data/me@home/a.tif"),
        ("s3://bucket/a.tif", "s3://bucket/a.tif"),
    ],
)
def test_strip_secrets(href, kept):
    assert strip_secrets(href) == kept
    assert strip_secrets(kept) == kept


def test_shown_has_no_query_at_all():
    assert shown("https://me:pw@h/a?key=secret#x") == "https://h/a"


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


def test_map_hrefs_goes_deep_and_copies():
    before = {"href": "a", "x": [{"href": "b", "title": "a"}], "href_list": ["a"]}
    after = map_hrefs(before, str.upper)
    assert after == {"href": "A", "x": [{"href": "B", "title": "a"}], "href_list": ["a"]}
    assert before["href"] == "a"
