"""Connect to Dask clusters or start them, with environment settings for torch and GDAL."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from rsscale.cluster import allocator
from rsscale.cluster.kinds import NANNY, start
from rsscale.cluster.pools import Workers
from rsscale.cluster.request import (
    ADDRESS,
    ARRAY,
    TILES_AT_ONCE,
    ClusterRequest,
    parse_request,
)
from rsscale.errors import RecipeError

if TYPE_CHECKING:
    from distributed import Client

# How long a scheduler may take to answer; a wrong address should not look like a slow one.
_ANSWER_WITHIN = "15s"

# Where Dask takes certificates from.
_TLS = (
    "set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and …__TLS__CLIENT__KEY, or "
    "the same in Dask's configuration"
)
_log = logging.getLogger(__name__)

Cluster: TypeAlias = "Client | ClusterRequest | Workers | str | Mapping[str, Any] | None"
"""What users give: a client, a name or address, keys of a recipe; None for this process."""


@contextmanager
def connect(
    cluster: Cluster, memory: Callable[[], int] | None = None
) -> Iterator[Client | Workers | None]:
    """A client for a cluster by name, closed at the end if it was opened here.

    Parameters
    ----------
    cluster : str, mapping, Client or None
        ``None``: no cluster, yields None. A ``distributed.Client``: used as it is.
        What :func:`rsscale.cluster.request.parse_request` reads: started, or, by its address such
        as ``"tcp://10.0.0.1:8786"``, connected to.
    memory : callable, optional
        Tells the bytes that a worker needs, for one that is asked for without.

    Raises
    ------
    RecipeError
        For another name, a scheduler that does not answer, or a cluster that can't be started.
    MissingExtraError
        When what starts it is not installed.
    """
    if not isinstance(cluster, str | Mapping | ClusterRequest):
        yield cluster
        return
    request = parse_request(cluster)
    if request.kind == ARRAY:
        raise RecipeError(
            "cluster 'array' shares the tiles of a run among processes: it is for `run` and "
            "`resume`; use 'local:2' here, or the address of a scheduler"
        )
    if request.is_declared and request.memory is None and memory is not None:
        request = request.with_memory(memory())
    opened = _remote(request.address) if request.kind == ADDRESS else start(request)
    with opened as client:
        yield client


@contextmanager
def asked_first(cluster: Cluster) -> Iterator[Cluster]:
    """Connect at once to a cluster whose workers must be asked what they have.

    Another one is started later, when all has been checked: jobs and processes wait for nothing.
    """
    if isinstance(cluster, str | Mapping | ClusterRequest):
        request = parse_request(cluster)
        if request.kind in (ADDRESS, "gateway", "ssh"):
            with connect(request) as client:
                yield client
            return
        cluster = request
    yield cluster


def is_array(cluster: Cluster) -> bool:
    """Whether processes share the run without a scheduler."""
    is_named = isinstance(cluster, str | Mapping | ClusterRequest)
    return is_named and parse_request(cluster).kind == ARRAY  # type: ignore[arg-type]


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


# Schedulers of whose workers was told.
_hinted: dict[str, object] = {}


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        _shake_hands(address)
        client = Client(address, timeout=_ANSWER_WITHIN)
    except Exception as error:  # Dask raises its own where TLS is not set up
        raise RecipeError(_no_answer(address, error)) from error
    # Beside the run, which must not wait for a worker that does not answer.
    threading.Thread(target=_hint, args=(client,), daemon=True).start()
    with _silent_loss(), client:
        yield client


@contextmanager
def _silent_loss() -> Iterator[None]:
    """Keep Dask from logging that a scheduler is gone: the run says so itself, in one line."""
    loggers = [logging.getLogger(f"distributed.{name}") for name in ("client", "batched")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _shake_hands(address: str) -> None:
    """Connect to a scheduler and leave again; what does not answer in time raises.

    Dask's client waits for ever for a server that takes connections and says nothing, as one does
    that wants TLS and is asked without, and meanwhile is the default of every computation.
    """
    from dask.utils import parse_timedelta
    from distributed.comm import connect as open_comm
    from distributed.security import Security

    seconds = parse_timedelta(_ANSWER_WITHIN)

    async def shake() -> None:
        arguments = Security().get_connection_args("client")
        comm = await asyncio.wait_for(open_comm(address, timeout=seconds, **arguments), seconds + 1)
        comm.abort()

    # In a thread: a notebook's own has a loop that runs already.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, shake()).result()


def _no_answer(address: str, error: BaseException) -> str:
    """Why there is no connection, on one line."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    ssl_errors = [cause for cause in causes if isinstance(cause, ssl.SSLError)]
    if ssl_errors or (address.startswith("tls://") and "closed" in str(error)):
        reason = next((e.reason for e in ssl_errors if e.reason), "the connection was closed")
        return (
            f"the scheduler at {address} and this process do not accept each other's certificates "
            f"({str(reason).lower().replace('_', ' ')}); both need keys of one CA: {_TLS}"
        )
    if address.startswith("tls://") and isinstance(error, TypeError | RuntimeError):
        return f"{address} needs certificates, and none are set here: {_TLS}"
    return f"no Dask scheduler answers at {address}; is it running, and reachable from here" + (
        "?" if address.startswith("tls://") else ", and without TLS? With it, say tls://"
    )


def _hint(client: Client) -> None:
    """Warn when a user's own workers have settings that make torch slow; once of each cluster.

    A command may connect several times, and a cluster answers each of them.
    """
    try:
        answers = client.run(_gives_back, on_error="ignore")
        scheduler = str(client.scheduler_info()["id"])
    except Exception:  # noqa: BLE001 -- the run has ended meanwhile, or has lost its cluster
        return
    slow = [address for address, is_slow in answers.items() if is_slow]
    # One step for Python's own lock: two connections may answer at the same time.
    if slow and _hinted.setdefault(scheduler, mine := object()) is mine:
        settings = " ".join(f"{NANNY}{name}={v}" for name, v in allocator.ENVIRONMENT.items())
        _log.warning(
            "%d of %d workers give freed memory back to the system at once: torch on the CPU is "
            "up to three times slower there; start them with %s",
            len(slow),
            len(answers),
            settings,
        )


def _gives_back() -> bool:
    """Whether this process was not started as :mod:`rsscale.cluster.allocator` wants it."""
    return (
        sys.platform.startswith("linux")
        and not allocator.started_with() >= allocator.ENVIRONMENT.keys()
    )


__all__ = [
    "ARRAY",
    "TILES_AT_ONCE",
    "Cluster",
    "asked_first",
    "connect",
    "is_array",
    "is_in_a_worker",
]
