"""A file is there whole or not at all, also after a power cut: what is synchronized, and when."""

import os
import sys
from pathlib import Path

import pytest

from rsscale.durable import replace


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files by handle: of Linux")
def test_a_file_is_on_disk_before_its_name_and_its_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.json"
    target.write_bytes(b"old")
    seen: list[tuple[str, bytes, bytes]] = []

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").resolve()
        content = path.read_bytes() if path.is_file() else b""
        seen.append(("folder" if path == tmp_path else "file", content, target.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    replace(target, lambda file: file.write(b"new"))
    assert seen == [("file", b"new", b"old"), ("folder", b"", b"new")]
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    target.write_bytes(b"old")

    def half(file: object) -> None:
        file.write(b"ha")
        raise OSError("the disk went")

    with pytest.raises(OSError, match="the disk went"):
        replace(target, half)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
