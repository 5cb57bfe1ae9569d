"""Dask clusters by name, started with the settings that torch and GDAL want."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rsscale.errors import RecipeError

if TYPE_CHECKING:
    from distributed import Client

TILES_AT_ONCE = 2
"""Tiles that one process has in hand: one reads while another is predicted."""

# How long a scheduler may take to answer; a wrong address should not look like a slow one.
_ANSWER_WITHIN = "15s"

# Below it, buffers of one layer of a network are given back.
_SLOW_TRIM = 16 * 2**20
_log = logging.getLogger(__name__)

# Dask's nanny sets MALLOC_TRIM_THRESHOLD_ to 64 KiB: the buffers that torch frees after every
# layer go back to the kernel and are paged in again, which costs 20-30 % on the CPU. And
# OMP_NUM_THREADS=1, which the run's own thread count replaces.
_WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(256 * 2**20),
    "OMP_NUM_THREADS": str(os.cpu_count() or 1),
    "MKL_NUM_THREADS": str(os.cpu_count() or 1),
    "OPENBLAS_NUM_THREADS": "1",
    # Threads of several workers share the cores: one that waits must not spin on them.
    "OMP_WAIT_POLICY": "PASSIVE",
}

_LOCAL_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT,
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
        with _local(_workers(cluster)) as client:
            yield client


def threads_of(cluster: str | Client | None) -> int | None:
    """Threads of torch in each process of a cluster on this machine: its share of the cores.

    None where the machine's cores are one process's, or the workers are elsewhere.
    """
    if not isinstance(cluster, str) or "://" in cluster:
        return None
    return max((os.cpu_count() or 1) // _workers(cluster), 1)


def _workers(name: str) -> int:
    kind, _, count = name.partition(":")
    if kind != "local" or (count and not count.isdigit()) or count == "0":
        raise RecipeError(
            f"cluster {name!r} is not known; use 'local', 'local:2' (worker processes), or the "
            "address of a scheduler such as 'tcp://10.0.0.1:8786'"
        )
    return int(count or 1)


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_ANSWER_WITHIN)
    except (OSError, TimeoutError, ValueError) as error:
        raise RecipeError(
            f"no Dask scheduler answers at {address}; is it running, and reachable from here?"
        ) from error
    with client:
        _hint(client)
        yield client


def _hint(client: Client) -> None:
    """Say so when a user's own workers have the setting that makes torch slow."""
    found = client.run(_trim_threshold)
    slow = [address for address, value in found.items() if value is not None and value < _SLOW_TRIM]
    if slow:
        _log.warning(
            "%d of %d workers give freed memory back to the system at once "
            "(MALLOC_TRIM_THRESHOLD_, set by Dask's nanny): torch on the CPU loses 20-30 %% there; "
            "start them with DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__MALLOC_TRIM_THRESHOLD_=%d",
            len(slow),
            len(found),
            512 * 2**20,
        )


def _trim_threshold() -> int | None:
    value = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    return int(value) if value.isdigit() else None


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(_LOCAL_SETTINGS),
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
