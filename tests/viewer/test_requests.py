"""Hosts, paths and ranges of requests: what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.viewer.requests import byte_range, is_own_host, path_parts


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:80", "127.1.2.3"]
)
def test_hosts_of_this_machine(host: str) -> None:
    assert is_own_host(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "example.org", "127.0.0.1.example.org", "localhost.example.org", "10.0.0.1",
     "localhost:x", "evil@localhost", "127.0.0.1 example.org"],
)  # fmt: skip
def test_other_hosts(host: str | None) -> None:
    assert not is_own_host(host)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/", ["index.html"]),
        ("/viewer/", ["viewer", "index.html"]),
        ("/product.zarr/classification/c/0?x=1#y", ["product.zarr", "classification", "c", "0"]),
        ("/viewer/tiles/map/x-1_y-20.json", ["viewer", "tiles", "map", "x-1_y-20.json"]),
        ("/viewer/regions/my%20zones.json", ["viewer", "regions", "my zones.json"]),
    ],
)  # fmt: skip
def test_paths(target: str, parts: list[str]) -> None:
    assert path_parts(target) == parts


@pytest.mark.parametrize(
    "target",
    ["/../run.json", "/viewer/../../etc/passwd", "/%2e%2e/run.json", "/%2E%2e%2frun.json",
     "/%252e%252e/run.json", "/..%5crun.json", "/viewer\\..\\run.json", "//etc/passwd",
     "/product.zarr//zarr.json", "/.hidden", "/product.zarr/./zarr.json", "/a%00b", "/C:/run.json",
     "http://example.org/viewer/", "viewer/", "", "*", "/%ff%fe", "/product.zarr/..",
     "/%2fetc/passwd"],
)  # fmt: skip
def test_paths_that_lead_elsewhere(target: str) -> None:
    assert path_parts(target) is None


@given(st.text())
def test_no_path_has_a_part_that_leaves_its_folder(text: str) -> None:
    parts = path_parts("/" + text) or []
    assert not any(
        part.startswith(".") or {"/", "\\", "\0", ":", "%"} & set(part) for part in parts
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("bytes=0-1,4-5", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("lines=0-3", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_ranges_beyond_the_end(header: str) -> None:
    with pytest.raises(ValueError, match="of 10"):
        byte_range(header, 10)


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_slicing_gives(content: bytes, first: int, last: int) -> None:
    if first >= len(content) or last < first:
        return
    start, stop = byte_range(f"bytes={first}-{last}", len(content)) or (0, 0)
    assert content[start:stop] == content[first : last + 1]
