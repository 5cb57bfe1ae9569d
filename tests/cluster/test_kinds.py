"""Clusters of other libraries: what each is asked for, and what is missing is told."""

import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import dask
import pytest

from rsscale.cluster import kinds
from rsscale.cluster.connection import connect
from rsscale.cluster.request import parse_request
from rsscale.errors import MissingExtraError, RecipeError

MEMORY = 6 * 2**30


def asked(**keys: Any) -> Any:
    return parse_request(keys).with_memory(MEMORY)


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSSCALE_PASSES", "mine")
    monkeypatch.delenv("RSSCALE_FUNCTIONS", raising=False)


def job_script(**keys: Any) -> str:
    """As dask-jobqueue would submit it."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    request = asked(**keys)
    name = {"slurm": "SLURMJob", "pbs": "PBSJob", "lsf": "LSFJob"}[request.kind]
    job = getattr(sys.modules[f"{jobqueue.__name__}.{request.kind}"], name)
    options = kinds.job_options(request)
    assert options.pop("n_workers") == request.workers
    with dask.config.set({"jobqueue.lsf.lsf-units": "mb", "jobqueue.lsf.use-stdin": True}):
        return str(job("tcp://10.0.0.1:8786", name="worker-1", **options).job_script())


def test_a_job_of_slurm_has_the_share_of_a_worker() -> None:
    script = job_script(
        kind="slurm", workers=20, cores=8, gpus=1, queue="long", account="eo", walltime="04:00:00",
        job_extra_directives=["--constraint=ib"], job_script_prologue=["module load cuda"],
    )  # fmt: skip
    for line in (
        "#SBATCH -p long",
        "#SBATCH -A eo",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=6G",
        "#SBATCH -t 04:00:00",
        "#SBATCH --gres=gpu:1",
        "#SBATCH --constraint=ib",
        "module load cuda",
        "export RSSCALE_PASSES=mine",
        "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS=8",
        "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__MALLOC_ARENA_MAX=1",
    ):
        assert line in script.splitlines()
    assert "RSSCALE_FUNCTIONS" not in script
    assert re.search(r"dask_worker .* --nthreads 2 ", script)
    assert re.search(r"--memory-limit (6\.0+ ?GiB|6442450944)", script)


def test_jobs_of_pbs_and_lsf() -> None:
    script = job_script(kind="pbs", cores=8, gpus=2, queue="long")
    assert "#PBS -l select=1:ncpus=8:mem=6gb:ngpus=2" in script.splitlines()
    script = job_script(kind="lsf", cores=8, gpus=1)
    assert "#BSUB -n 8" in script.splitlines()
    assert "#BSUB -gpu num=1" in script.splitlines()
    assert re.search(r"#BSUB -M 6(443|144)", script)


def test_a_batch_system_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(RecipeError, match="submits jobs with 'qsub', which is not on this machine"),
        connect({"kind": "pbs", "memory": "4GB"}),
    ):
        pass


def test_pods_have_the_share_of_a_worker() -> None:
    found = kinds.pod_options(
        asked(kind="kubernetes", workers=9, gpus=1, image="r/rsscale:1", env={"A": "1"})
    )
    share = {"cpu": "4", "memory": str(MEMORY), "nvidia.com/gpu": "1"}
    assert found["resources"] == {"requests": share, "limits": share}
    assert (found["n_workers"], found["image"]) == (9, "r/rsscale:1")
    assert found["worker_command"] == "dask-worker --nthreads 2"
    assert {"A": "1", "RSSCALE_PASSES": "mine"}.items() <= found["env"].items()
    with pytest.raises(RecipeError, match="needs 'image', a container image"):
        kinds.pod_options(asked(kind="kubernetes"))


def test_memory_that_nobody_worked_out_is_asked_for() -> None:
    with pytest.raises(RecipeError, match="'slurm' needs the memory of a worker here"):
        kinds.job_options(parse_request("slurm"))


@pytest.mark.parametrize(
    ("cluster", "module", "extra"),
    [
        ("slurm", "dask_jobqueue", "jobqueue"),
        ("lsf", "dask_jobqueue", "jobqueue"),
        ("kubernetes", "dask_kubernetes.operator", "kubernetes"),
        ("gateway", "dask_gateway", "gateway"),
        ("ssh:a,b", "asyncssh", "ssh"),
    ],
)
def test_a_library_that_is_missing_is_named_by_its_extra(
    cluster: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(MissingExtraError, match=rf"pip install 'rsscale\[{extra}\]'$"),
        connect(cluster, lambda: MEMORY),
    ):
        pass


class Started:
    """In place of another library's cluster: keeps what it was asked for."""

    def __init__(self, **options: Any) -> None:
        if options.pop("refused", False):
            raise ConnectionError("nobody is there\nand more lines")
        self.options, self.scaled = options, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.options["closed"] = True

    def scale(self, workers: int) -> None:
        self.scaled = workers

    @contextmanager
    def get_client(self) -> Iterator[Any]:
        yield self


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        ("dask_gateway", "GatewayCluster"),
        ("dask_kubernetes.operator", "KubeCluster"),
        ("asyncssh", ""),
    ):
        fake = types.ModuleType(module)
        if name:
            setattr(fake, name, Started)
        monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.setattr("distributed.SSHCluster", Started)


@pytest.mark.usefixtures("fakes")
def test_each_is_started_scaled_and_closed() -> None:
    with connect({"kind": "gateway", "workers": 5, "cores": 4, "memory": "8GiB"}) as found:
        assert found.options == {"worker_cores": 4, "worker_memory": 8.0}
        assert found.scaled == 5
    assert found.options["closed"]
    with connect({"kind": "ssh", "hosts": ["a", "b"], "connect_options": {"port": 2222}}) as found:
        assert found.options["hosts"] == ["a", "a", "b"]  # the scheduler, then the workers
        assert found.options["worker_options"] == {"nthreads": 2}
        assert found.options["connect_options"] == {"port": 2222}
    with connect({"kind": "kubernetes", "image": "i"}, lambda: MEMORY) as found:
        assert found.options["resources"]["limits"]["memory"] == str(MEMORY)


@pytest.mark.usefixtures("fakes")
def test_what_a_library_can_not_start_is_one_line() -> None:
    told = r"^cluster 'gateway' can't be started: ConnectionError: nobody is there$"
    with pytest.raises(RecipeError, match=told), connect({"kind": "gateway", "refused": True}):
        pass


def test_gpus_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_gpus", list)
    with (
        pytest.raises(RecipeError, match="a worker for each GPU, and torch sees none here; use"),
        connect("cuda"),
    ):
        pass
    monkeypatch.setattr(kinds, "_gpus", lambda: ["0", "1"])
    with (
        pytest.raises(RecipeError, match="torch sees 2 here where 3 were asked for"),
        connect("cuda:3"),
    ):
        pass


@pytest.mark.extended
def test_each_worker_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_gpus", lambda: ["0", "3"])
    with connect("cuda") as client:
        client.wait_for_workers(2, timeout=60)
        seen = client.run(_visible)
    assert sorted(seen.values()) == ["0", "3"]


def _visible() -> str:
    import os

    return os.environ["CUDA_VISIBLE_DEVICES"]
