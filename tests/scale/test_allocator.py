"""The allocator takes the settings; what they bring is for a benchmark to say."""

import platform
import subprocess
import sys

import pytest

from rsscale.scale import allocator, cluster

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc"
)
TOLD = "from rsscale.scale.allocator import keep_memory; print(keep_memory())"


@pytest.mark.parametrize(
    ("environment", "told"), [({}, "True"), ({"MALLOC_TRIM_THRESHOLD_": "65536"}, "False")]
)
def test_a_process_sets_itself_unless_it_was_started_otherwise(
    environment: dict[str, str], told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == told


def test_workers_of_a_local_cluster_are_started_so() -> None:
    with cluster.connect("local:1") as client:
        (slow,) = client.run(cluster._gives_back).values()
    assert slow is False


def test_a_worker_started_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in allocator.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert not cluster._gives_back()
    monkeypatch.delenv("MALLOC_ARENA_MAX")  # as a nanny that was told of the thresholds only
    assert cluster._gives_back()
