"""One archive for all tests of the pipeline."""

from pathlib import Path

import landscape as make_landscape
import pytest


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> make_landscape.Landscape:
    """Two zones, four dates, an untrained model."""
    return make_landscape.make(Path(tmp_path_factory.mktemp("landscape")) / "archive")
