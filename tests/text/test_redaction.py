"""What is kept of an address and of a message, and what is dropped."""

import logging

import pytest

from rsscale.errors import CatalogError
from rsscale.text.redaction import (
    KEEP_QUERY,
    dropped_names,
    redact_logs,
    scrub,
    scrub_answer,
    shown,
    strip_document,
    strip_secrets,
)

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("href", "kept", "dropped"),
    [
        # What addresses a file stays, byte for byte.
        ("https://h/a.tif", "https://h/a.tif", ()),
        ("https://h/a?versionId=7&b=%20c", "https://h/a?versionId=7&b=%20c", ()),
        ("https://h/get?path=/a/b.tif&f=tif", "https://h/get?path=/a/b.tif&f=tif", ()),
        ("https://h/ows?SERVICE=WCS&CoverageId=x", "https://h/ows?SERVICE=WCS&CoverageId=x", ()),
        ("https://h/a;v1.tif", "https://h/a;v1.tif", ()),
        ("/data/a b.tif", "/data/a b.tif", ()),
        ("/data/me@home/a;1#2?.tif", "/data/me@home/a;1#2?.tif", ()),
        ("s3://bucket/me@2x.tif", "s3://bucket/me@2x.tif", ()),
        ("https://h/me@2x.tif", "https://h/me@2x.tif", ()),
        # Everything else goes, whatever it is called.
        ("https://h/a?sv=1&se=2&sig=X%3D", "https://h/a", ("sv", "se", "sig")),
        ("https://h/a?X-Amz-Date=1&versionId=7", "https://h/a?versionId=7", ("X-Amz-Date",)),
        ("https://h/a?api_token=1", "https://h/a", ("api_token",)),
        ("https://h/a?access-token=1&f=2", "https://h/a?f=2", ("access-token",)),
        ("https://h/a?zz=1", "https://h/a", ("zz",)),
        ("https://h/a?%6Bey=1", "https://h/a", ("key",)),
        ("https://h/a?f=1;jwt=2", "https://h/a?f=1", ("jwt",)),
        ("https://h/a?AbCdEf", "https://h/a", ("a value without a name",)),
        ("https://h/a#token=1", "https://h/a", ("the fragment",)),
        ("https://h/a;sid=1/b.tif", "https://h/a/b.tif", ("parameters after ';'",)),
        ("https://h/a.tif;AbCdEf", "https://h/a.tif", ("parameters after ';'",)),
        ("https://me:pw@h:8080/a", "https://h:8080/a", ("the user name",)),
        ("https://me:p/w@h/a", "https://h/a", ("the user name",)),
        ("https://token@h/a", "https://h/a", ("the user name",)),
        ("/vsicurl/https://me:pw@h/a?sig=1", "/vsicurl/https://h/a", ("the user name", "sig")),
        (
            "/vsicurl?url=https%3A%2F%2Fh%2Fa%3Fsig%3D1&header.Authorization=Bearer%20x",
            "/vsicurl?url=https://h/a",
            ("sig", "header.Authorization"),
        ),
        ("https://h/x?url=https://u:p@k/a", "https://h/x?url=https://k/a", ("the user name",)),
        (f"https://h/{JWT}/a.tif", "https://h/…/a.tif", ("a token in its path",)),
        (f"https://h/a?id={JWT}", "https://h/a", ("id",)),
    ],
)
def test_an_address_keeps_what_finds_the_file(href, kept, dropped):
    assert strip_secrets(href) == kept
    assert dropped_names(href) == dropped
    assert strip_secrets(kept) == kept


def test_a_person_may_name_what_addresses_a_file(monkeypatch):
    href = "https://h/a?handle=7&token=8"
    assert strip_secrets(href) == "https://h/a"
    monkeypatch.setenv(KEEP_QUERY, "Handle, token")
    assert strip_secrets(href) == "https://h/a?handle=7"  # what is called token stays a token


def test_shown_has_no_query_at_all():
    assert shown("https://me:pw@h/a?path=secret#x") == "https://h/a"


def test_a_document_loses_credentials_wherever_they_are():
    document = {
        "id": "a",
        "properties": {"gsd": 10.0, "auth:schemes": {"x": 1}, "storage:client_secret": "s"},
        "links": [{"rel": "next", "href": "https://u:p@h/x?token=1", "headers": {"A": "b"}}],
        "assets": {
            "red": {
                "href": "https://h/a.tif?sig=1",
                "alternate": {"s3": {"href": "s3://b/a.tif?sig=1&versionId=2"}},
                "description": f"Bearer abcdefgh and https://u:p@h/x#y, {JWT}",
                "proj:shape": [10, 20],
            }
        },
    }
    assert strip_document(document) == {
        "id": "a",
        "properties": {"gsd": 10.0},
        "links": [{"rel": "next", "href": "https://h/x"}],
        "assets": {
            "red": {
                "href": "https://h/a.tif",
                "alternate": {"s3": {"href": "s3://b/a.tif?versionId=2"}},
                "description": "Bearer … and https://h/x …",
                "proj:shape": [10, 20],
            }
        },
    }


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("HTTP 404 of https://u:p@h/a?b=1: gone", "HTTP 404 of https://h/a: gone"),
        ("url: /search?token=1 (Caused by x)", "url: /search (Caused by x)"),
        ("Authorization: Bearer abcdefgh", "Authorization: …"),
        ("{'X-Api-Key': 'abc', 'a': 1}", "{'X-Api-Key': …, 'a': 1}"),
        (f"jwt {JWT}.", "jwt …"),
        ("not from s3://; copy it", "not from s3://; copy it"),
        ("is it right? set sign=…", "is it right? set sign=…"),
        ("{Authorization: 'Bearer env:A_TOKEN'}", "{Authorization: 'Bearer env:A_TOKEN'}"),
        ('X-Api-Key: env:A_KEY, Cookie: "a=1"', "X-Api-Key: env:A_KEY, Cookie: …"),
    ],
)
def test_messages_are_scrubbed(text, clean):
    assert scrub(text) == clean


def test_an_error_has_no_secret_from_its_birth(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "from-the-environment")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine h login me password from-netrc")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    error = CatalogError("from-the-environment and from-netrc at https://u:p@h?x=1")
    assert str(error) == "… and … at https://h"


def test_values_of_headers_are_secret_and_the_names_of_their_variables_are_not(monkeypatch):
    monkeypatch.setenv("RSSCALE_TOKENS", "PROVIDER_A, PROVIDER_TOKEN, UNSET")
    monkeypatch.setenv("PROVIDER_A", "k1")
    monkeypatch.setenv("PROVIDER_TOKEN", "from-the-environment")
    error = CatalogError("k1 and from-the-environment; set RSSCALE_TOKENS=PROVIDER_TOKEN")
    assert str(error) == "… and …; set RSSCALE_TOKENS=PROVIDER_TOKEN"
    monkeypatch.setenv("RSSCALE_TOKENS", "PROVIDER_A")
    assert str(CatalogError("h wants PROVIDER_A")) == "h wants PROVIDER_A"


def test_an_answer_is_shown_without_what_was_sent():
    said = scrub_answer(
        "I know no k-3! nor pass; also d9f8e7c6b5a4d9f8e7c6, "
        "123e4567-e89b-12d3-a456-426614174000; sentinel-2-c1-l2a is no collection",
        "https://user:pass@h/?apikey=k-3%21",
    )
    assert said == "I know no … nor …; also …, …; sentinel-2-c1-l2a is no collection"


def test_logs_of_libraries_are_scrubbed(caplog):
    redact_logs()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug('%s "GET %s"', "https://h", "/a?token=1")
        logging.getLogger("pystac_client.stac_api_io").debug("GET x {'Authorization': 'Bearer xy'}")
    assert "token" not in caplog.text
    assert "xy" not in caplog.text
