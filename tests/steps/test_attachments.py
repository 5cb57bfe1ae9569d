"""What a run copies: byte for byte, and what may be a secret in it is told by its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from rsscale.steps.attachments import Attachment
from rsscale.store.run_folder import RunFolder

SECRET = "hunter2-7f3a"  # noqa: S105
SIGNED = f"https://b.example/model.pt2?X-Amz-Signature={SECRET}"


@pytest.mark.parametrize(
    ("name", "document", "place"),
    [
        ("item.json", {"assets": {"model": {"href": SIGNED}}}, "assets.model.href"),
        ("item.json", {"links": [{"rel": "a", "href": "b"}, {"headers": {"X-Key": SECRET}}]},
         "links[1].headers"),
        ("item.json", {"properties": {"source": ["", f"Bearer {SECRET}"]}}, "properties.source[1]"),
        ("zones.geojson", {"features": [{"properties": {"api_key": SECRET}}]},
         "features[0].properties.api_key"),
        ("zones.GEOJSON", {"source": f"https://me:{SECRET}@b.example/zones"}, "source"),
    ],
)  # fmt: skip
def test_what_may_be_a_secret_is_told_by_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, document: Any, place: str
) -> None:
    file = tmp_path / name
    file.write_text(json.dumps(document))
    attachment = Attachment("model", (file,), "models")
    attachment.keep(RunFolder.at(tmp_path / "run"))
    kept = tmp_path / "run" / "models" / attachment.digest / name
    assert kept.read_bytes() == file.read_bytes()
    (told,) = caplog.messages
    assert f"{name} is copied into the run's folder as it is" in told
    assert f"secrets in {place};" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("item.json", json.dumps({"assets": {"m": {"href": "./model.pt2"}}, "bbox": [1, 2, 3, 4],
                                  "links": [{"href": "https://b.example/a?versionId=7"}]})),
        ("item.json", "no JSON at all"),
        ("model.safetensors", SIGNED),
    ],
)  # fmt: skip
def test_other_files_are_copied_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    Attachment("model", (file,), "models").keep(RunFolder.at(tmp_path / "run"))
    assert not caplog.messages
