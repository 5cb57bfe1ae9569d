"""A bucket: moto's S3 server, asked over HTTP."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rsscale.scale.place import Place, place

_numbers = count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a server with a bucket ``maps``; the environment's names point to it."""
    import os

    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    import requests

    requests.put(f"http://{host}:{port}/maps", timeout=30).raise_for_status()
    yield settings["AWS_ENDPOINT_URL"]
    server.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(params=["folder", "bucket"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    if request.param == "folder":
        return place(tmp_path / "run")
    request.getfixturevalue("s3_server")
    return place(f"s3://maps/run{next(_numbers)}")
