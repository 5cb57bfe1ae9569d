"""What is told from a document's text alone: that nothing has to be taken out of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.text.redaction import strip_document
from rsscale.text.secret_signs import is_free_of_secrets

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0"
ITEM = {
    "id": "S2A_28QCH_20200714_0_L2A",
    "geometry": {"type": "Polygon", "coordinates": [[[-16.9, 18.9], [-16.0, 18.9]]]},
    "properties": {"datetime": "2020-07-14T11:42:09Z", "proj:epsg": 32628, "eo:cloud_cover": None},
    "assets": {
        "mask_20m": {
            "href": "https://example.org/cogs/28/Q/CH/B04.tif", "roles": ["data"], "title": "Basic",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        }
    },
}  # fmt: skip
# Parts of texts and keys; those that are taken out stand among harmless ones.
PARTS = (
    "https://h/", "/vsicurl/", "a.tif", "?sig=1", ";v=1", "#x", "me:pw@", JWT, "Bearer ", "Basic ",
    "abcdefgh", "sk-live-abcdefghijklmnop", "hf_abcdefghijklmnopqrst", "mask_20m", "token", "key",
    "image/tiff; application=geotiff", "; profile=cloud-optimized",
    "client", "id", "_", ":", ",", "{", '"', "\n", "é", " ", "",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS), max_size=4).map("".join)
DOCUMENTS = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def written(document):
    return json.dumps(document, separators=(",", ":"))


def test_an_item_of_a_public_archive_is_free_of_secrets():
    assert is_free_of_secrets(written(ITEM))


@given(DOCUMENTS)
def test_nothing_is_taken_out_of_what_is_free_of_secrets(document):
    if is_free_of_secrets(written(document)):
        assert strip_document(document) == document


@pytest.mark.parametrize(
    "document",
    [
        {"href": "https://h/a.tif?sig=1"},
        {"href": "https://me:pw@h/a.tif"},
        {"title": f"see {JWT}"},
        {"title": "Bearer abcdefgh"},
        {"a": {"storage:client_secret": 1}},
        {",": ":", "token": "x"},
        {"x": "a,", ":": [{"key": 1}]},
    ],
)
def test_what_holds_a_secret_is_not_free_of_it(document):
    assert strip_document(document) != document
    assert not is_free_of_secrets(written(document))
