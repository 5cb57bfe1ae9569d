"""Start Dask clusters: one small function for each kind, which gives a client of its cluster.

Libraries that only one kind needs are imported where it is started. All workers have
:data:`~rsscale.cluster.request.TILES_AT_ONCE` threads, whatever their cores: a tile uses those by
itself.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rsscale.cluster import allocator
from rsscale.cluster.request import QUEUES, TILES_AT_ONCE, ClusterRequest
from rsscale.errors import RecipeError, RsscaleError, missing_extra

if TYPE_CHECKING:
    from distributed import Client

NANNY = "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__"
"""How a setting reaches the workers that Dask's nannies start: before its name."""

CORES = 4
"""Of a worker where a request does not say."""

_LOCAL_SETTINGS = {
    # A worker that died is started again by its nanny; but one that is found absent this long
    # after an earlier death, even if it is just starting, is let go for good, and at last there
    # is none.
    "distributed.deploy.lost-worker-timeout": "1 day",
}
_LOOPBACK = "127.0.0.1"


@contextmanager
def start(request: ClusterRequest) -> Iterator[Client]:
    """Start a cluster; a client of it for the ``with`` block, and both are closed after it.

    Raises
    ------
    MissingExtraError
        Which names the extra that the kind needs.
    RecipeError
        When it can't be started as it is asked for.
    """
    with _STARTERS[request.kind](request) as client:
        yield client


@contextmanager
def _local(request: ClusterRequest) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    with (
        _nannies(worker_environment()),
        LocalCluster(
            n_workers=request.workers or 1,
            threads_per_worker=TILES_AT_ONCE,
            processes=True,
            dashboard_address=f"{_LOOPBACK}:0",  # any free port; another Dask may have 8787
            host=_LOOPBACK,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _cuda(request: ClusterRequest) -> Iterator[Client]:
    """A worker process for each GPU of this machine, which sees no other.

    (dask-cuda does the same, and besides what torch has no use for. It asks for one exact release
    of Dask, which is rarely the one that is there.)
    """
    from distributed import Client, Nanny, Scheduler, SpecCluster

    cards = _gpus()
    gpus = cards[: request.workers] if request.workers else cards
    if len(gpus) < max(request.workers, 1):
        raise RecipeError(
            f"cluster 'cuda' has a worker for each GPU, and torch sees {len(cards) or 'none'} here"
            + (f" where {request.workers} were asked for" if request.workers else "")
            + "; use 'local:2', or another machine"
        )
    options = {"nthreads": TILES_AT_ONCE, "host": _LOOPBACK, **request.options}
    workers = {
        number: {"cls": Nanny, "options": {**options, "env": {"CUDA_VISIBLE_DEVICES": gpu}}}
        for number, gpu in enumerate(gpus)
    }
    scheduler = {"host": _LOOPBACK, "dashboard_address": f"{_LOOPBACK}:0", "port": 0}
    with (
        _nannies(worker_environment()),
        SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": scheduler}) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _gpus() -> list[str]:
    """GPUs of this machine that may be used, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())]
    return visible.split(",")[: len(names)] if visible else names


@contextmanager
def _queue(request: ClusterRequest) -> Iterator[Client]:
    """A job of a batch system for each worker; dask-jobqueue submits them."""
    try:
        import dask_jobqueue
    except ImportError:
        raise missing_extra(f"cluster {request.kind!r}", "jobqueue") from None
    command = QUEUES[request.kind]
    if shutil.which(command) is None:
        raise RecipeError(
            f"cluster {request.kind!r} submits jobs with {command!r}, which is not on this "
            "machine; run this where jobs are submitted, or use 'array' inside of a job"
        )
    kinds = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
    kind = getattr(dask_jobqueue, kinds[request.kind])
    with _started(request, kind, job_options(request)) as client:
        yield client


def job_options(request: ClusterRequest) -> dict[str, Any]:
    """What dask-jobqueue is asked for: a job has the cores and memory of one worker."""
    cores, memory = request.cores or CORES, _memory(request)
    gibibytes = math.ceil(memory / 2**30)
    options: dict[str, Any] = {
        "cores": TILES_AT_ONCE,
        "processes": 1,
        "memory": f"{memory}B",
        "n_workers": request.workers or 1,
        "job_script_prologue": [
            f"export {name}={value}" for name, value in _settings(cores).items()
        ],
    }
    directives: list[str] = []
    if request.kind == "slurm":
        options |= {"job_cpu": cores, "job_mem": f"{gibibytes}G"}
        directives = [f"--gres=gpu:{request.gpus}"] if request.gpus else []
    elif request.kind == "pbs":
        gpus = f":ngpus={request.gpus}" if request.gpus else ""
        options |= {"resource_spec": f"select=1:ncpus={cores}:mem={gibibytes}gb{gpus}"}
    else:
        options |= {"ncpus": cores, "mem": memory}
        directives = [f"-gpu num={request.gpus}"] if request.gpus else []
    given = dict(request.options)
    for key, mine in (
        ("job_extra_directives", directives),
        ("job_script_prologue", options["job_script_prologue"]),
    ):
        options[key] = [*mine, *given.pop(key, [])]
    return options | given


@contextmanager
def _kubernetes(request: ClusterRequest) -> Iterator[Client]:
    """Pods of the Dask operator, one a worker."""
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError:
        raise missing_extra("cluster 'kubernetes'", "kubernetes") from None
    with _started(request, KubeCluster, pod_options(request)) as client:
        yield client


def pod_options(request: ClusterRequest) -> dict[str, Any]:
    """What the Dask operator is asked for."""
    if "image" not in request.options and "custom_cluster_spec" not in request.options:
        raise RecipeError(
            "cluster 'kubernetes' needs 'image', a container image that has rsscale and this "
            "environment, such as cluster: {kind: kubernetes, image: registry/rsscale:1}"
        )
    cores = request.cores or CORES
    share = {"cpu": str(cores), "memory": str(_memory(request))}
    share |= {"nvidia.com/gpu": str(request.gpus)} if request.gpus else {}
    options = {
        "n_workers": request.workers or 1,
        "resources": {"requests": share, "limits": share},
        "env": {**_settings(cores), **request.options.get("env", {})},
        "worker_command": f"dask-worker --nthreads {TILES_AT_ONCE}",
        "quiet": True,
    }
    return options | {key: v for key, v in request.options.items() if key != "env"}


@contextmanager
def _gateway(request: ClusterRequest) -> Iterator[Client]:
    """A cluster of a Dask Gateway, by its address or Dask's own settings."""
    try:
        from dask_gateway import GatewayCluster
    except ImportError:
        raise missing_extra("cluster 'gateway'", "gateway") from None
    options = dict(request.options)
    if request.cores is not None:
        options.setdefault("worker_cores", request.cores)
    if request.memory is not None:
        options.setdefault("worker_memory", request.memory / 2**30)
    with _started(request, GatewayCluster, options, scale=True) as client:
        yield client


@contextmanager
def _ssh(request: ClusterRequest) -> Iterator[Client]:
    """A scheduler on the first machine, and a worker on each."""
    try:
        import asyncssh  # noqa: F401 -- what SSHCluster connects with
    except ImportError:
        raise missing_extra("cluster 'ssh'", "ssh") from None
    from distributed import SSHCluster

    options = dict(request.options)
    hosts = [request.hosts[0], *request.hosts]
    workers = {"nthreads": TILES_AT_ONCE, **options.pop("worker_options", {})}
    options = {"worker_options": workers, **options}
    with (
        _nannies(worker_environment()),
        _started(request, SSHCluster, {"hosts": hosts, **options}) as client,
    ):
        yield client


@contextmanager
def _started(
    request: ClusterRequest,
    kind: Callable[..., Any],
    options: dict[str, Any],
    *,
    scale: bool = False,
) -> Iterator[Client]:
    """A client of a cluster of another library."""
    try:
        cluster = kind(**options)
    except RsscaleError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise RecipeError(
            f"cluster {request.kind!r} can't be started: {type(error).__name__}: {first}"
        ) from error
    with cluster:
        if scale:
            cluster.scale(request.workers or 1)
        with cluster.get_client() as client:
            yield client


def _memory(request: ClusterRequest) -> int:
    if request.memory is None:
        raise RecipeError(
            f"cluster {request.kind!r} needs the memory of a worker here: "
            f"cluster: {{kind: {request.kind}, memory: 16GB, …}}; a run works it out itself"
        )
    return request.memory


def _settings(cores: int) -> dict[str, str]:
    """Of a worker of another machine, for its nanny and for itself."""
    own = {name: value for name, value in os.environ.items() if name in _OWN}
    of_nanny = {f"{NANNY}{name}": value for name, value in worker_environment(cores).items()}
    return {**of_nanny, **own}


# What workers must allow as the client does.
_OWN = ("RSSCALE_PASSES", "RSSCALE_FUNCTIONS", "RSSCALE_SIGNERS")


def worker_environment(cores: int | None = None) -> dict[str, str]:
    """The environment that workers are started with, by default for this machine's cores."""
    # Dask's nanny sets MALLOC_TRIM_THRESHOLD_ to 64 KiB, the worst for torch, and
    # OMP_NUM_THREADS=1, which the run's own thread count replaces.
    threads = str(cores or os.cpu_count() or 1)
    return {
        **(allocator.environment() if cores is None else allocator.ENVIRONMENT),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",
        # Threads of several workers share the cores: one that waits must not spin on them.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


@contextmanager
def _nannies(environment: dict[str, str]) -> Iterator[None]:
    """Settings of the nannies that are started meanwhile, in this process."""
    import dask

    settings = {**_LOCAL_SETTINGS, "distributed.nanny.pre-spawn-environ": environment}
    with _put_back(environment), dask.config.set(settings):
        yield


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


_STARTERS = {
    "local": _local,
    "cuda": _cuda,
    **dict.fromkeys(QUEUES, _queue),
    "kubernetes": _kubernetes,
    "gateway": _gateway,
    "ssh": _ssh,
}
