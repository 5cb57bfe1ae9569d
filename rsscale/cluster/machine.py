"""Cores, memory and devices of one process of a run: here, or on the workers of a cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psutil

from rsscale.cluster.connection import ARRAY, connect, workers_of
from rsscale.errors import RecipeError

if TYPE_CHECKING:
    from distributed import Client

Precision = Literal["float32", "bfloat16"]
"""The precision a network computes in; its scores are float32 in any case."""

# One that was stopped says nothing; the others know enough.
_ANSWER_S = 15.0
_WORKERS_WITHIN_S = 120.0
_ASKED = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """One process's share of a machine.

    Attributes
    ----------
    cores : int
    memory : int
        Bytes.
    devices : frozenset of str
        ``"cpu"``, and ``"cuda"`` where torch sees a GPU.
    bfloat16 : frozenset of str
        Devices with instructions for it.
    is_mixed : bool
        Whether some workers have devices that others lack; then ``devices`` are what all have.
    """

    cores: int
    memory: int
    devices: frozenset[str] = frozenset({"cpu"})
    bfloat16: frozenset[str] = frozenset()
    is_mixed: bool = False

    @classmethod
    def here(cls, processes: int = 1) -> Machine:
        """The share of one of so many processes of this machine."""
        import torch

        devices = frozenset({"cpu", "cuda"} if torch.cuda.is_available() else {"cpu"})
        return cls(
            cores=max((os.cpu_count() or 1) // processes, 1),
            memory=psutil.virtual_memory().total // processes,
            devices=devices,
            bfloat16=frozenset(device for device in devices if has_bfloat16(device)),
        )


def machine_of(cluster: str | Client | None) -> Machine:
    """Resources common to all workers: fewest cores, least memory, devices that all have.

    Parameters
    ----------
    cluster : str, Client or None
        As :func:`rsscale.cluster.connection.connect` takes it. The workers of one that runs already
        are asked; where none of them answers, this machine stands in, and the log says so.

    Raises
    ------
    RecipeError
        When a scheduler does not answer, or has no worker.
    """
    if cluster == ARRAY:  # each of its processes says for itself
        return Machine.here()
    if isinstance(cluster, str) and "://" not in cluster:
        return Machine.here(workers_of(cluster))
    with connect(cluster) as client:
        return Machine.here() if client is None else _of_cluster(client)


def _of_cluster(client: Client) -> Machine:
    workers = _workers_of(client)
    beside = Counter(worker["host"] for worker in workers.values())
    first = {worker["host"]: address for address, worker in reversed(list(workers.items()))}
    asked = {address: beside[host] for host, address in list(first.items())[:_ASKED]}
    found = _answers(client, asked)
    if silent := asked.keys() - found.keys():
        _log.warning(
            "%s did not say within %g s what there is to compute with; taken to be %s",
            ", ".join(sorted(silent)),
            _ANSWER_S,
            "like the others" if found else "like this machine",
        )
    return _least(found.values() or [Machine.here()], workers.values())


def _answers(client: Client, sharing: Mapping[str, int]) -> dict[str, Machine]:
    """The resources of workers by address; without workers that do not answer in time.

    They are asked beside their tasks: one whose threads are all busy answers too.

    Parameters
    ----------
    client : distributed.Client
    sharing : mapping of address to int
        How many workers share that one's machine.
    """
    answers: queue.SimpleQueue[tuple[str, Machine | None]] = queue.SimpleQueue()

    def ask(address: str, processes: int) -> None:
        try:
            answers.put((address, client.run(_resources, processes, workers=[address])[address]))
        except Exception as error:  # noqa: BLE001 -- it is gone, or the client is
            _log.info("worker %s did not say what it has: %r", address, error)
            answers.put((address, None))

    for address, processes in sharing.items():
        threading.Thread(target=ask, args=(address, processes), daemon=True).start()
    until = time.monotonic() + _ANSWER_S
    found = {}
    with suppress(queue.Empty):
        for _ in sharing:
            address, machine = answers.get(timeout=max(until - time.monotonic(), 0))
            if machine is not None:
                found[address] = machine
    return found


async def _resources(processes: int) -> Machine:
    # In a thread: torch takes seconds to import, and a worker's loop has a scheduler to answer.
    return await asyncio.to_thread(Machine.here, processes)


def _workers_of(client: Client) -> Mapping[str, Mapping[str, Any]]:
    """A scheduler's workers by their address, once there are any."""
    try:
        client.wait_for_workers(1, timeout=_WORKERS_WITHIN_S)
    except TimeoutError:
        raise RecipeError(
            f"the scheduler at {client.scheduler.address} has no worker; start some, such as with "
            f"`dask worker {client.scheduler.address} --nthreads 2`"
        ) from None
    found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _least(machines: Iterable[Machine], workers: Iterable[Mapping[str, Any]]) -> Machine:
    machines = list(machines)
    limits = [worker["memory_limit"] for worker in workers if worker.get("memory_limit")]
    devices = frozenset.intersection(*(machine.devices for machine in machines))
    return Machine(
        cores=min(machine.cores for machine in machines),
        memory=min([*limits, *(machine.memory for machine in machines)]),
        devices=devices,
        bfloat16=frozenset.intersection(*(machine.bfloat16 for machine in machines)),
        is_mixed=any(machine.devices != devices for machine in machines),
    )


def no_bfloat16(device: str) -> str:
    """Error message when bfloat16 is requested on a device without native support."""
    return (
        f"precision 'bfloat16' was asked for, and {device!r} has no instructions for it: "
        "it would be several times slower; use 'float32'"
    )


def has_bfloat16(device: str) -> bool:
    """Whether a kind of device of this machine multiplies bfloat16 itself.

    Parameters
    ----------
    device : str
        ``"cuda"``, or ``"cpu"``: with AVX512-BF16 or AMX.
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)
