"""A finished run that is published, and the publication: made once, read-only."""

from pathlib import Path

import pytest
from once import Once
from published_runs import make_run

import rsscale as rs


@pytest.fixture(scope="session")
def finished(once: Once) -> Path:
    """A finished run without overviews."""
    return once("publishing-run", make_run)


@pytest.fixture(scope="session")
def published(once: Once, finished: Path) -> Path:
    """It, published with files that are whole."""

    def make(folder: Path) -> Path:
        rs.publish(finished, folder / "product")
        return folder / "product"

    return once("publishing-product", make)
