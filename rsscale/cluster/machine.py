"""Cores, memory and devices of one process of a run: here, or on the workers of a cluster."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rsscale.cluster.connection import Cluster, connect
from rsscale.cluster.engine import Stop, Workers
from rsscale.cluster.kinds import CORES
from rsscale.cluster.request import ARRAY, ClusterRequest, parse_request
from rsscale.errors import RecipeError, RunFolderError
from rsscale.text.redaction import scrub

if TYPE_CHECKING:
    from distributed import Client

Precision = Literal["float32", "bfloat16"]
"""The precision a network computes in; its scores are float32 in any case."""

# One that was stopped says nothing; the others know enough.
_ANSWER_S = 15.0
_WORKERS_WITHIN_S = 120.0
_ASKED = 32
# It imports torch, opens the models and tries them on a window.
_CHECKED_WITHIN_S = 120.0
_LOOK_S = 0.5
# Of workers that are asked for with the memory that a tile needs.
_NO_LIMIT = 2**62

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
        """The share of one of so many processes of this machine, or of its job or container."""
        import torch
        from dask.system import cpu_count
        from distributed.system import memory_limit

        devices = frozenset({"cpu", "cuda"} if torch.cuda.is_available() else {"cpu"})
        return cls(
            # A batch system gives some of a machine's cores, a container some of its memory.
            cores=max(cpu_count() // processes, 1),
            memory=memory_limit() // processes,
            devices=devices,
            bfloat16=frozenset(device for device in devices if has_bfloat16(device)),
        )


def machine_of(cluster: Cluster) -> Machine:
    """Resources common to all workers: fewest cores, least memory, devices that all have.

    Parameters
    ----------
    cluster : str, mapping, Client or None
        As :func:`rsscale.cluster.connection.connect` takes it. The workers of one that runs already
        are asked; where none of them answers, this machine stands in, and the log says so.

    Raises
    ------
    RecipeError
        When a scheduler does not answer, or has no worker.
    """
    if isinstance(cluster, str | Mapping | ClusterRequest):
        request = parse_request(cluster)
        if request.kind in (ARRAY, "local", "cuda"):  # processes of an array say for themselves
            return Machine.here(max(request.workers, 1))
        if request.is_declared:
            return _declared(request)
    with connect(cluster) as client:
        if client is None or isinstance(client, Workers):
            return Machine.here()
        return _of_cluster(client)


def _declared(request: ClusterRequest) -> Machine:
    """What a worker will have that is not there yet, as it is asked for."""
    devices = frozenset({"cpu", "cuda"} if request.gpus else {"cpu"})
    # GPUs of today have it; whether a CPU has is not known before.
    return Machine(
        cores=request.cores or CORES,
        memory=request.memory or _NO_LIMIT,
        devices=devices,
        bfloat16=devices - {"cpu"},
    )


def _of_cluster(client: Client) -> Machine:
    workers = _workers_of(client)
    beside = Counter(worker["host"] for worker in workers.values())
    first = {worker["host"]: address for address, worker in reversed(list(workers.items()))}
    asked = {address: beside[host] for host, address in list(first.items())[:_ASKED]}
    machines = _answers(client, asked)
    if silent := asked.keys() - machines.keys():
        _log.warning(
            "%s did not say within %g s what there is to compute with; taken to be %s",
            ", ".join(sorted(silent)),
            _ANSWER_S,
            "like the others" if machines else "like this machine",
        )
    return _least(machines.values() or [Machine.here()], workers.values())


def _answers(client: Client, sharing: Mapping[str, int]) -> dict[str, Machine]:
    """The resources of workers by address; without workers that do not answer in time.

    Parameters
    ----------
    client : distributed.Client
    sharing : mapping of address to int
        How many workers share that one's machine.
    """
    asked = {address: (_resources, (count,)) for address, count in sharing.items()}
    machines = {}
    for address, answer in _ask(client, asked, _ANSWER_S).items():
        if isinstance(answer, Machine):
            machines[address] = answer
        else:  # it is gone, or the client is
            _log.info("worker %s did not say what it has: %r", address, answer)
    return machines


def _ask(
    client: Client, asked: Mapping[str, tuple[Any, tuple[Any, ...]]], within: float
) -> dict[str, Any]:
    """Answers of workers by address, or the error of one; without those that say nothing in time.

    They are asked beside their tasks: one whose threads are all busy answers too.
    """
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def ask(address: str, call: Any, arguments: tuple[Any, ...]) -> None:
        try:
            answers.put((address, client.run(call, *arguments, workers=[address])[address]))
        except Exception as error:  # noqa: BLE001 -- whatever a worker, or Dask, made of it
            answers.put((address, error))

    for address, (call, arguments) in asked.items():
        threading.Thread(target=ask, args=(address, call, arguments), daemon=True).start()
    until = time.monotonic() + within
    replies: dict[str, Any] = {}
    with suppress(queue.Empty):
        for _ in asked:
            address, answer = answers.get(timeout=max(until - time.monotonic(), 0))
            replies[address] = answer
    return replies


def check_workers(client: Client, check: Callable[[], None], stop: Stop) -> None:
    """Let each worker that is there say whether it can compute, before any tile is handed out.

    Waits for the first worker as long as it takes: jobs may be queued for hours.

    Parameters
    ----------
    client : distributed.Client
    check : callable
        Importable; raises on a worker that can't.
    stop : Stop
        Ends the waiting.

    Raises
    ------
    RunFolderError
        When one can't: how many, which, and why.
    """
    while not (workers := client.scheduler_info(n_workers=-1)["workers"]):
        if stop.asked or client.status != "running":
            return
        time.sleep(_LOOK_S)
    replies = _ask(client, dict.fromkeys(workers, (_checked, (check,))), _CHECKED_WITHIN_S)
    wrong = {address: _in_words(answer) for address, answer in replies.items() if answer}
    if wrong:
        address, reason = next(iter(wrong.items()))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RunFolderError(
            f"{len(wrong)} of {len(workers)} workers can't compute this run: {address}{more}: "
            f"{reason}"
        )
    if silent := workers.keys() - replies.keys():
        _log.warning(
            "%s did not say within %g s whether they can compute this run",
            ", ".join(sorted(silent)[:5]),
            _CHECKED_WITHIN_S,
        )


async def _checked(check: Callable[[], None]) -> str:
    """What is wrong on this worker, in words; empty if nothing."""

    def call() -> str:
        try:
            check()
        except Exception as error:  # noqa: BLE001 -- told where it can be read
            return scrub(" ".join(str(error).split()) or type(error).__name__)
        return ""

    return await asyncio.to_thread(call)


def _in_words(answer: Any) -> str:
    """What a worker said, or why it could not be asked: mostly, that it lacks rsscale."""
    if isinstance(answer, ImportError) or "No module named" in str(answer):
        return f"it has another environment ({scrub(str(answer))}); give all of them the same"
    if isinstance(answer, BaseException):
        return f"it could not be asked ({type(answer).__name__}: {scrub(str(answer))})"
    return str(answer)


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
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


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


def training_device(device: str | None) -> str:
    """The kind of device that a model is trained on in this process.

    Parameters
    ----------
    device : str, optional
        ``"cpu"`` or ``"cuda"``; of None and ``"auto"`` the GPU, if there is one.
    """
    import torch

    if device not in (None, "auto"):
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


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
