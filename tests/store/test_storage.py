"""A folder and a bucket keep the same promises."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from rsscale.errors import RunFolderError, StorageError
from rsscale.store.storage import Folder, Storage, open_storage


def test_what_is_written_is_read_back_and_replaced(anywhere: Storage) -> None:
    anywhere.write("a/b.json", b"one")
    anywhere.write("a/b.json", b"two")
    assert anywhere.read("a/b.json") == b"two"
    assert anywhere.exists("a/b.json")
    assert open_storage(anywhere.url).read("a/b.json") == b"two"
    assert anywhere.child("a").read("b.json") == b"two"
    assert anywhere.local("a/b.json").read_bytes() == b"two"


def test_a_file_of_any_size_is_put(anywhere: Storage, tmp_path: Path) -> None:
    source = tmp_path / "large.tif"
    source.write_bytes(os.urandom(20_000_000))  # an upload in parts
    anywhere.write("cogs/a.tif", b"old")
    anywhere.put_file("cogs/a.tif", source)
    assert anywhere.read("cogs/a.tif") == source.read_bytes()
    assert list(anywhere.names()) == ["cogs/a.tif"]


def test_a_local_copy_is_of_what_is_there_now(anywhere: Storage) -> None:
    anywhere.write("items/s2.records", b"one")
    assert anywhere.local("items/s2.records").read_bytes() == b"one"
    anywhere.write("items/s2.records", b"two")
    assert anywhere.local("items/s2.records").read_bytes() == b"two"


def test_what_is_not_there_is_not_found(anywhere: Storage) -> None:
    assert not anywhere.exists("a")
    assert list(anywhere.names()) == []
    with pytest.raises(FileNotFoundError):
        anywhere.read("a")


def test_names_are_all_below_a_prefix(anywhere: Storage) -> None:
    for name in ("a/1", "a/b/2", "ab/3", "c"):
        anywhere.write(name, b"")
    assert sorted(anywhere.names()) == ["a/1", "a/b/2", "ab/3", "c"]
    assert sorted(anywhere.names("a")) == ["a/1", "a/b/2"]
    anywhere.delete("a/1")
    assert list(anywhere.names("a")) == ["a/b/2"]


def test_one_of_many_creates(anywhere: Storage) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: anywhere.create("lease/1", str(n).encode()), range(8)))
    assert sum(made) == 1
    assert anywhere.read("lease/1") == str(made.index(True)).encode()
    assert list(anywhere.names()) == ["lease/1"]


def test_a_log_keeps_all_lines(anywhere: Storage) -> None:
    for number in range(3):
        anywhere.append("events.jsonl", f"{number}\n".encode())
    assert anywhere.read_log("events.jsonl") == b"0\n1\n2\n"
    assert anywhere.read_log("other.jsonl") == b""


def test_zarr_reads_and_writes_it(anywhere: Storage) -> None:
    store = anywhere.child("p.zarr").zarr(read_only=False)
    zarr.create_array(store, data=np.arange(6).reshape(2, 3), chunks=(1, 3))
    found = zarr.open_array(anywhere.child("p.zarr").zarr(read_only=True), mode="r")
    assert found[1].tolist() == [3, 4, 5]


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.write("file", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # a full disk can't be made here
    with pytest.raises(StorageError, match="No space left"):
        folder.write("file", b"new")
    assert folder.read("file") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_leftovers_of_dead_writers_are_swept(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a/shard", b"whole")
    (tmp_path / "a" / ".shard.x1.partial").write_bytes(b"ha")
    assert list(folder.names()) == ["a/shard"]
    assert folder.remove_partial(keep=("a",)) == 0  # who writes there may live
    assert folder.remove_partial() == 1
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["shard"]


def test_a_bucket_that_is_not_there_is_one_line_without_secrets(s3_server: str) -> None:
    del s3_server
    with pytest.raises(StorageError, match="s3://no-such-bucket/run/x can't be written") as told:
        open_storage("s3://no-such-bucket/run").write("x", b"")
    assert "\n" not in str(told.value)
    assert "secret-of-the-test" not in str(told.value)


def test_other_addresses_are_refused() -> None:
    with pytest.raises(RunFolderError, match="ftp://host/run can't hold a run"):
        open_storage("ftp://host/run")
