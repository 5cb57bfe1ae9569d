"""An empty folder, and an empty prefix of a bucket."""

from itertools import count
from pathlib import Path

import pytest

from rsscale.store.storage import Storage, open_storage

_numbers = count()


@pytest.fixture(params=["folder", "bucket"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty place of each kind."""
    if request.param == "folder":
        return open_storage(tmp_path / "run")
    request.getfixturevalue("s3_server")
    return open_storage(f"s3://maps/array{next(_numbers)}")
