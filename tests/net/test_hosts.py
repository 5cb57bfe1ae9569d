"""Servers that cannot be reached are asked a few times once, not for every asset."""

import socket
import threading

import pytest
import requests
from cube_scenes import WEST, geobox, item, texture, write
from fault_server import serve

import rsscale as rs
from rsscale.errors import ReadError
from rsscale.net import hosts, retry
from rsscale.net.hosts import HOSTS, Hosts, KnownUnreachableError, UnreachableError
from rsscale.net.ranges import TRAFFIC, fetch_range
from rsscale.net.retry import is_unreachable

URL = "https://archive.example/a.tif"


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    waits = []
    monkeypatch.setattr(retry, "pause", lambda tried, *_: waits.append(tried))
    HOSTS.forget()
    yield waits
    HOSTS.forget()


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(hosts.time, "monotonic", lambda: now[0])
    return now


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """Fails as often as it is told to; counts."""

    def __init__(self, fails=10**9, why="connection refused"):
        self.fails, self.why, self.asked = fails, why, 0
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.asked += 1
            if self.asked <= self.fails:
                raise UnreachableError(self.why)
        return "answer"


@pytest.mark.parametrize(
    ("why", "times"), [("connection refused", 6), ("no such host", 3), ("silence", 3)]
)
def test_it_is_asked_a_few_times_once(clock, why, times):
    known, server = Hosts(), Server(why=why)
    with pytest.raises(KnownUnreachableError, match=f"{why}, {times} times; try again later"):
        known.ask(URL, server)
    for path in ("b.tif", "c.tif"):
        with pytest.raises(KnownUnreachableError, match=f"{why}, {times} times; its host is asked"):
            known.ask(f"https://me:secret@Archive.example/{path}", server)
    assert server.asked == times
    # Others are not concerned: another host, another port, another scheme.
    for other in ("https://other.example/a", "https://archive.example:8443/a"):
        assert known.ask(other, lambda: "answer") == "answer"
    clock[0] += hosts.NEVER_REACHED_S + 1
    with pytest.raises(KnownUnreachableError, match="try again later"):
        known.ask(URL, server)
    assert server.asked == 2 * times


@pytest.mark.usefixtures("clock")
def test_a_server_that_comes_back_is_waited_for(pauses):
    known, server = Hosts(), Server(fails=4)
    assert known.ask(URL, server) == "answer"
    assert pauses == [1, 2, 3, 4]
    assert known.ask(URL, server) == "answer"


def test_a_server_that_answered_before_is_asked_again_soon(clock):
    known = Hosts()
    known.ask(URL, lambda: "answer")
    gone = Server()
    with pytest.raises(KnownUnreachableError):
        known.ask(URL, gone)
    clock[0] += hosts.REACHED_BEFORE_S + 0.1
    assert known.ask(URL, lambda: "answer") == "answer"


@pytest.mark.parametrize("fails", [5, 10**9])
def test_of_many_threads_one_asks_again(fails):
    known, server = Hosts(), Server(fails)
    outcomes, start = [], threading.Barrier(8)

    def work():
        start.wait()
        try:
            outcomes.append(known.ask(URL, server))
        except KnownUnreachableError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each at most once by itself, and one of them five times more.
    if fails > 100:
        assert server.asked <= 8 + retry.RETRIES
        assert all("connection refused" in one for one in outcomes)
    else:
        assert outcomes == ["answer"] * 8


def test_other_failures_are_no_matter_of_the_host():
    known = Hosts()
    with pytest.raises(ZeroDivisionError):
        known.ask(URL, lambda: 1 / 0)
    assert known.ask(URL, lambda: "answer") == "answer"


def test_a_real_port_with_nobody_behind():
    port = free_port()
    before = TRAFFIC.requests
    for name in "abcd":
        with pytest.raises(ReadError, match="connection refused, 6 times"):
            fetch_range(f"http://127.0.0.1:{port}/{name}.tif", 0, 10, None)
    assert TRAFFIC.requests - before <= 4 + retry.RETRIES


def test_a_host_that_does_not_exist():
    session = requests.Session()
    session.trust_env = False
    with pytest.raises(requests.RequestException) as caught:
        session.get("http://no-such-host.invalid/a.tif", timeout=5)
    assert is_unreachable(caught.value)


def test_a_cube_with_a_dead_host_ends_soon(tmp_path):
    """Of forty assets behind it none is asked for, but those that ask at the same time."""
    port = free_port()
    write(tmp_path / "red.tif", texture((300, 300), 1), WEST, "EPSG:32631")
    raster = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
    with serve(tmp_path) as faults:
        items = [
            item(f"i{k}", "2023-06-15", {"red": f"http://127.0.0.1:{port}/{k}.tif"}, fields=raster)
            for k in range(40)
        ]
        items.append(item("sound", "2023-06-16", {"red": f"{faults.url}/red.tif"}, fields=raster))
        before = TRAFFIC.requests
        cube = rs.load(items, geobox(0, 0, 300, 300), ["red"], on_error="skip", loader="dask")
        values = cube.values
    assert values[-1].all()
    assert not values[:-1].any()
    assert TRAFFIC.requests - before < 70
