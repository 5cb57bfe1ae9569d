"""Paths of this machine and secrets are left out of what is published; addresses stay."""

from pathlib import Path

import pytest

from rsscale.publishing.local_paths import publishable, publishable_text, without_local_paths


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/labels.gpkg", "labels.gpkg"),
        ("/home/me/model/", "model"),
        ("read from /data/run 1", "read from run 1"),
        ("file:///srv/a/b.tif", "b.tif"),
        ("C:\\Users\\me\\a.tif and D:\\b.tif", "a.tif and b.tif"),
        ('"/tmp/x/y.json": 1', '"y.json": 1'),
        ("https://host.example/home/me/a.tif", "https://host.example/home/me/a.tif"),
        ("s3://bucket/data/a.tif", "s3://bucket/data/a.tif"),
        ("./provenance/s2.parquet", "./provenance/s2.parquet"),
        ("../data/x.json", "../data/x.json"),
        ("m/s and km/h, 1/2, and/or", "m/s and km/h, 1/2, and/or"),
        ("<p>a</p><br/>", "<p>a</p><br/>"),
        ("data:image/jpeg;base64,/9j/4AAQ/data/x", "data:image/jpeg;base64,/9j/4AAQ/data/x"),
        ("/collections/landsat/items", "/collections/landsat/items"),
    ],
)
def test_paths(text: str, left: str) -> None:
    assert without_local_paths(text) == left


def test_a_folder_of_this_machine_whatever_its_name() -> None:
    top = next(path.name for path in Path("/").iterdir() if path.is_dir())
    assert without_local_paths(f"see /{top}/x/y.txt") == "see y.txt"


def test_documents_lose_tokens_too() -> None:
    found = publishable({
        "href": "https://host.example/a.tif?sig=SECRETSECRET&format=tif",
        "token": "abc",
        "deep": [{"path": "/home/me/a.tif"}, 5, None],
    })  # fmt: skip
    assert found == {
        "href": "https://host.example/a.tif?format=tif",
        "deep": [{"path": "a.tif"}, 5, None],
    }


def test_texts_lose_tokens_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALOG_TOKEN", "tok-0123456789")
    page = "<a href='https://host.example/a?sig=SECRET1'>a</a>\n<p>https://host.example/b</p>"
    assert "SECRET1" not in publishable_text(page)
    assert "https://host.example/b" in publishable_text(page)
    assert "tok-0123456789" not in publishable_text("it is tok-0123456789")
