"""What users say of a cluster, and what of it is refused."""

from typing import Any

import pytest

from rsscale.cluster.connection import is_array
from rsscale.cluster.machine import Machine, machine_of
from rsscale.cluster.request import ClusterRequest, chosen, parse_request
from rsscale.errors import RecipeError


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("local", ClusterRequest("local", 1)),
        ("local:3", ClusterRequest("local", 3)),
        ("cuda", ClusterRequest("cuda")),
        ("slurm:20", ClusterRequest("slurm", 20)),
        ("array", ClusterRequest("array", 1)),
        ("ssh:a,b", ClusterRequest("ssh", hosts=("a", "b"))),
        ("tls://10.0.0.1:8786", ClusterRequest("address", address="tls://10.0.0.1:8786")),
        (
            {"kind": "slurm", "workers": 20, "queue": "long", "memory": "16GB", "cores": 8},
            ClusterRequest("slurm", 20, 8, 16 * 10**9, options={"queue": "long"}),
        ),
        ({"kind": "cuda"}, ClusterRequest("cuda")),
        ({"kind": "cuda", "workers": 2}, ClusterRequest("cuda", 2)),
        ({"kind": "pbs:4", "gpus": 1}, ClusterRequest("pbs", 4, gpus=1)),
        ({"kind": "ssh", "hosts": ["a"]}, ClusterRequest("ssh", hosts=("a",))),
        ({"kind": "array"}, ClusterRequest("array", 1)),
        ({"kind": "tcp://a:1"}, ClusterRequest("address", address="tcp://a:1")),
    ],
)
def test_what_is_read(asked: Any, found: ClusterRequest) -> None:
    assert parse_request(asked) == found


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("locl", "cluster 'locl' is not known; use 'local', .* did you mean 'local'?"),
        ("local:0", "cluster 'local:0' is not known"),
        ("slurm:many", "is not known"),
        ("array:4", "is not known"),
        ("http://a:8786", r"no scheduler's address; such as tcp://10\.0\.0\.1:8786"),
        ("tcp://", "no scheduler's address"),
        ("ssh", "needs the machines: ssh:first,second"),
        ({"workers": 2}, "give a name such as 'local:2', or a mapping with 'kind'"),
        ({"kind": "slurm", "workers": 0}, "'workers' is 0; give a whole number from 1"),
        ({"kind": "slurm", "cores": "8"}, "'cores' is '8'; give a whole number"),
        ({"kind": "slurm", "workers": True}, "'workers' is True"),
        ({"kind": "slurm", "memory": "a lot"}, "'memory' is 'a lot'; give bytes such as '16GB'"),
        ({"kind": "slurm", "memory": 16}, "'memory' is 16; give bytes"),
        ({"kind": "local", "queue": "long"}, "'local' does not take 'queue'"),
        ({"kind": "array", "cores": 4}, "'array' has the cores and memory of the processes"),
        ({"kind": "slurm", "hosts": ["a"]}, "'hosts' is for 'ssh'"),
        ({"kind": "tcp://a:1", "workers": 2}, "tcp://a:1 runs already; give its address alone"),
    ],
)
def test_what_is_refused(asked: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        parse_request(asked)


def test_a_command_goes_before_the_recipe() -> None:
    slurm = {"kind": "slurm", "queue": "long"}
    assert chosen(None, None) is None
    assert chosen(slurm, None) == slurm
    assert chosen(slurm, "slurm") == slurm  # with its keys
    assert chosen(slurm, "slurm:4") == "slurm:4"
    assert chosen(slurm, "local:2") == "local:2"
    assert chosen("array", None, may_share=False) is None
    assert chosen("array", "array", may_share=False) == "array"  # refused by what it is given to
    assert is_array("array")
    assert is_array({"kind": "array"})
    assert not is_array(None)
    assert not is_array("local:2")


def test_workers_that_are_not_there_have_what_is_asked_for() -> None:
    assert machine_of({"kind": "slurm", "cores": 8, "gpus": 1, "memory": "1GiB"}) == Machine(
        8, 2**30, frozenset({"cpu", "cuda"}), frozenset({"cuda"})
    )
    plain = machine_of("kubernetes:3")
    assert (plain.cores, plain.devices) == (4, frozenset({"cpu"}))
    assert plain.memory > 2**50  # what the tiles need is asked for later
    assert machine_of("array") == Machine.here()
