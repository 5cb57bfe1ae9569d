"""An address that takes connections and says nothing is told like one where nobody is."""

import socket

import dask
import dask.array as da
import pytest

from rsscale.cluster.connection import connect
from rsscale.errors import RecipeError


def test_a_server_that_says_nothing_is_told_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rsscale.cluster.connection._ANSWER_WITHIN", "500ms")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(RecipeError, match="no Dask scheduler answers at"), connect(address):
            pass
    assert dask.config.get("scheduler", None) is None
    assert da.ones(3).sum().compute() == 3
