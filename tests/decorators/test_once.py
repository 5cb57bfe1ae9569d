"""Results that threads share: computed once, whoever asks."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rsscale.decorators.once import once
from rsscale.net import connections, gdal_files, signing

THREADS = 8


def ask_together(function, *args):
    """What each of some threads is given that ask at the same moment."""
    ready = threading.Barrier(THREADS)

    def ask(_: int) -> object:
        ready.wait()
        return function(*args)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(ask, range(THREADS)))


def test_threads_that_ask_first_share_one_result() -> None:
    made = []

    @once(maxsize=2)
    def make(name: str) -> object:
        """What it makes."""
        time.sleep(0.05)  # so that the others come meanwhile
        made.append(name)
        return object()

    assert len(set(map(id, ask_together(make, "a")))) == 1
    assert made == ["a"]
    assert make("b") is make("b") is not make("a")
    assert make.__doc__ == "What it makes."


def test_a_failure_is_not_kept() -> None:
    answers = iter([ValueError("no"), "yes"])

    @once()
    def make() -> str:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    with pytest.raises(ValueError, match="no"):
        make()
    assert make() == "yes"


def test_cleared_while_a_thread_holds_the_lock() -> None:
    """As after a fork: the lock stays with a thread that the child does not have."""
    begun, go = threading.Event(), threading.Event()

    @once()
    def make() -> object:
        begun.set()
        go.wait(10)
        return object()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(make)
        begun.wait(10)
        make.cache_clear()
        go.set()
        assert make() is not None
        assert first.result() is not None


def test_the_process_has_one_session_one_route_and_one_pool(monkeypatch) -> None:
    class SlowSession(connections._Session):
        def __init__(self) -> None:
            time.sleep(0.05)
            super().__init__()

    monkeypatch.setattr(connections, "_Session", SlowSession)
    gdal_files.forget()
    try:
        routes = ask_together(connections._route, "http://127.0.0.1:1")
        assert len({id(pool) for pool, _ in routes}) == 1
        assert len(set(map(id, ask_together(connections._session)))) == 1
        pools = ask_together(gdal_files._requests_pool)
        assert len(set(map(id, pools))) == 1
    finally:
        pools[0].shutdown()
        gdal_files.forget()


def test_a_signer_is_one(monkeypatch) -> None:
    monkeypatch.setenv("RSSCALE_SIGNERS", "os.path")
    signing.signer.cache_clear()
    monkeypatch.setattr(signing, "_function", lambda _: time.sleep(0.05) or str)
    try:
        assert len(set(map(id, ask_together(signing.signer, "os.path:join")))) == 1
    finally:
        signing.signer.cache_clear()
