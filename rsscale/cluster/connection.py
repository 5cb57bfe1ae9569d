"""Connect to Dask clusters or start them, with environment settings for torch and GDAL."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rsscale.cluster import allocator
from rsscale.errors import RecipeError

if TYPE_CHECKING:
    from distributed import Client

TILES_AT_ONCE = 2
"""Tiles that one process has in hand: one reads while another is predicted."""

ARRAY = "array"
"""The name for processes that share a run without a scheduler."""

# How long a scheduler may take to answer; a wrong address should not look like a slow one.
_ANSWER_WITHIN = "15s"

# How a setting reaches the workers that Dask's nannies start.
_NANNY = "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__"
_log = logging.getLogger(__name__)

_LOCAL_SETTINGS = {
    # A worker that died is started again by its nanny; but one that is found absent this long
    # after an earlier death, even if it is just starting, is let go for good, and at last there
    # is none.
    "distributed.deploy.lost-worker-timeout": "1 day",
}


@contextmanager
def connect(cluster: str | Client | None) -> Iterator[Client | None]:
    """A client for a cluster by name, closed at the end if it was opened here.

    Parameters
    ----------
    cluster : str, Client or None
        ``None``: no cluster, yields None. A ``distributed.Client``: used as it is.
        ``"local"`` or ``"local:N"``: N worker processes on this machine (1 when omitted).
        An address such as ``"tcp://10.0.0.1:8786"``: a scheduler that runs already.

    Raises
    ------
    RecipeError
        For another name, or a scheduler that does not answer.
    """
    if cluster is None or not isinstance(cluster, str):
        yield cluster
    elif "://" in cluster:
        with _remote(cluster) as client:
            yield client
    else:
        with _local(workers_of(cluster)) as client:
            yield client


def is_in_a_worker() -> bool:
    """Whether this code runs in a task of a Dask worker."""
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def workers_of(name: str) -> int:
    """Worker processes of a local cluster.

    Raises
    ------
    RecipeError
        For a name of no cluster.
    """
    if name == ARRAY:
        raise RecipeError(
            "cluster 'array' shares the tiles of a run among processes: it is for `run` and "
            "`resume`; use 'local:2' here, or the address of a scheduler"
        )
    kind, _, count = name.partition(":")
    if kind != "local" or (count and not count.isdigit()) or count == "0":
        raise RecipeError(
            f"cluster {name!r} is not known; use 'local', 'local:2' (worker processes), or the "
            "address of a scheduler such as 'tcp://10.0.0.1:8786'"
        )
    return int(count or 1)


# Schedulers of whose workers was told.
_hinted: dict[str, object] = {}


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_ANSWER_WITHIN)
    except (OSError, TimeoutError, ValueError) as error:
        raise RecipeError(
            f"no Dask scheduler answers at {address}; is it running, and reachable from here?"
        ) from error
    # The run says itself, in one line, when the scheduler is gone.
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    # Beside the run, which must not wait for a worker that does not answer.
    threading.Thread(target=_hint, args=(client,), daemon=True).start()
    try:
        with client:
            yield client
    finally:
        logger.setLevel(level)


def _hint(client: Client) -> None:
    """Warn when a user's own workers have settings that make torch slow; once of each cluster.

    A command may connect several times, and a cluster answers each of them.
    """
    try:
        found = client.run(_gives_back, on_error="ignore")
        scheduler = str(client.scheduler_info()["id"])
    except Exception:  # noqa: BLE001 -- the run has ended meanwhile, or has lost its cluster
        return
    slow = [address for address, is_slow in found.items() if is_slow]
    # One step for Python's own lock: two connections may answer at the same time.
    if slow and _hinted.setdefault(scheduler, mine := object()) is mine:
        settings = " ".join(f"{_NANNY}{name}={v}" for name, v in allocator.ENVIRONMENT.items())
        _log.warning(
            "%d of %d workers give freed memory back to the system at once: torch on the CPU is "
            "up to three times slower there; start them with %s",
            len(slow),
            len(found),
            settings,
        )


def _gives_back() -> bool:
    """Whether this process was not started as :mod:`rsscale.cluster.allocator` wants it."""
    return (
        sys.platform.startswith("linux")
        and not allocator.started_with() >= allocator.ENVIRONMENT.keys()
    )


def _worker_environment() -> dict[str, str]:
    """The environment that workers of this machine are started with."""
    # Dask's nanny sets MALLOC_TRIM_THRESHOLD_ to 64 KiB, the worst for torch, and
    # OMP_NUM_THREADS=1, which the run's own thread count replaces.
    return {
        **allocator.environment(),
        "OMP_NUM_THREADS": str(os.cpu_count() or 1),
        "MKL_NUM_THREADS": str(os.cpu_count() or 1),
        "OPENBLAS_NUM_THREADS": "1",
        # Threads of several workers share the cores: one that waits must not spin on them.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    environment = _worker_environment()
    with (
        _put_back(environment),
        dask.config.set({**_LOCAL_SETTINGS, "distributed.nanny.pre-spawn-environ": environment}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=TILES_AT_ONCE,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any free port; another Dask may have 8787
            host="127.0.0.1",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _put_back(names: Iterable[str]) -> Iterator[None]:
    """Take back what nannies leave: they start workers by way of this process's environment."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
