"""Which cluster is asked for: by a name, an address, or the keys of a recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rsscale.errors import RecipeError, nearest

TILES_AT_ONCE = 2
"""Tiles that one process has in hand: one reads while another is predicted."""

ARRAY = "array"
"""The kind of processes that share a run without a scheduler."""

ADDRESS = "address"
"""The kind of a scheduler that runs already."""

QUEUES: Mapping[str, str] = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub"}
"""Kinds whose workers are jobs of a batch system, and the command that submits them."""

KINDS = ("local", "cuda", *QUEUES, "kubernetes", "gateway", "ssh", ARRAY)

_KNOW_THEIR_WORKERS = ("cuda", "ssh", ADDRESS)
_OF_WORKERS = ("cores", "memory", "gpus")
_COUNTED = re.compile(r"(?P<kind>[a-z]+)(?::(?P<count>[1-9]\d{0,4}))?")
_SCHEMES = ("tcp", "tls", "ucx", "ws", "wss", "inproc")


@dataclass(frozen=True)
class ClusterRequest:
    """A cluster, before it is there.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`, or :data:`ADDRESS`.
    workers : int
        How many to start; 0 where the kind knows itself, such as a GPU each.
    cores : int or None
        Of each worker.
    memory : int or None
        Bytes of each worker.
    gpus : int
        Of each worker.
    address : str
        Of a scheduler.
    hosts : tuple of str
        For ``ssh``: the first has the scheduler, all have a worker.
    options : mapping
        What else the library takes that starts it, such as ``queue``.
    """

    kind: str
    workers: int = 0
    cores: int | None = None
    memory: int | None = None
    gpus: int = 0
    address: str = ""
    hosts: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        return self.address or self.kind

    @property
    def is_declared(self) -> bool:
        """Whether what a worker has is what is asked for, so that no worker need be asked."""
        return self.kind in QUEUES or self.kind == "kubernetes"

    def with_memory(self, memory: int) -> ClusterRequest:
        """With so many bytes for each worker, unless the request says how many."""
        return self if self.memory is not None else replace(self, memory=memory)


def parse_request(asked: str | Mapping[str, Any] | ClusterRequest) -> ClusterRequest:
    """Read what a user says.

    Parameters
    ----------
    asked : str or mapping
        ``"local:2"``, ``"slurm:20"``, ``"ssh:a,b"``, ``"tls://host:8786"``, ``"array"``; or keys:
        ``kind``, ``workers``, ``cores``, ``memory``, ``gpus``, ``hosts``, and those of the library
        that starts it.

    Raises
    ------
    RecipeError
        For what is no cluster; says what is.
    """
    if isinstance(asked, ClusterRequest):
        return asked
    if isinstance(asked, str):
        request = _of_text(asked)
        _check(request)
        return request
    if not isinstance(asked, Mapping) or not isinstance(asked.get("kind"), str):
        raise RecipeError(
            f"cluster is {asked!r}; give a name such as 'local:2', or a mapping with 'kind'"
        )
    given = dict(asked)
    named = _of_text(given.pop("kind"))
    hosts = given.pop("hosts", named.hosts)
    has_own = named.kind in _KNOW_THEIR_WORKERS and "workers" not in given
    workers = 0 if has_own else given.pop("workers", named.workers or 1)
    request = replace(
        named,
        workers=_whole(workers, "workers", least=0 if has_own else 1),
        cores=_whole(given.pop("cores"), "cores", least=1) if "cores" in given else None,
        memory=_bytes(given.pop("memory")) if "memory" in given else None,
        gpus=_whole(given.pop("gpus", 0), "gpus", least=0),
        hosts=tuple(map(str, hosts)) if isinstance(hosts, list | tuple) else (),
    )
    if request.kind == "local" and given:
        raise RecipeError(
            f"cluster: 'local' does not take {next(iter(given))!r}; it takes 'workers'"
        )
    if request.kind == ADDRESS and (given or len(asked) > 1):
        raise RecipeError(f"cluster: {request.address} runs already; give its address alone")
    _check(request)
    return replace(request, options=given)


def chosen(of_recipe: Any, given: Any, *, may_share: bool = True) -> Any:
    """The cluster to take: the one that is given, else that of a recipe.

    A name without more, such as ``"slurm"``, takes the recipe's keys for that kind. Where nothing
    is shared, the recipe's ``"array"`` is passed over.
    """
    if given is None and of_recipe is not None and not may_share:
        return None if parse_request(of_recipe).kind == ARRAY else of_recipe
    if given is None:
        return of_recipe
    if isinstance(given, str) and isinstance(of_recipe, Mapping) and of_recipe.get("kind") == given:
        return of_recipe
    return given


def _of_text(text: str) -> ClusterRequest:
    scheme, mark, rest = text.partition("://")
    if mark:
        if scheme not in _SCHEMES or not rest:
            raise RecipeError(
                f"cluster {text!r} is no scheduler's address; such as tcp://10.0.0.1:8786 or, with "
                "certificates, tls://10.0.0.1:8786"
            )
        return ClusterRequest(ADDRESS, address=text)
    kind, _, rest = text.partition(":")
    if kind == "ssh":
        return ClusterRequest("ssh", hosts=tuple(filter(None, rest.split(","))))
    match = _COUNTED.fullmatch(text)
    if match is None or kind not in KINDS or (kind == ARRAY and rest):
        raise RecipeError(
            f"cluster {text!r} is not known; use 'local', 'local:2' (worker processes), "
            f"{', '.join(map(repr, KINDS[1:]))}, or the address of a scheduler such as "
            f"'tcp://10.0.0.1:8786'{nearest(kind, KINDS)}"
        )
    count = match["count"]
    return ClusterRequest(kind, workers=int(count or (kind != "cuda")))


def _check(request: ClusterRequest) -> None:
    if request.kind == "ssh" and not request.hosts:
        raise RecipeError(
            "cluster 'ssh' needs the machines: ssh:first,second, or 'hosts' as a list; the first "
            "has the scheduler, all have a worker"
        )
    if request.hosts and request.kind != "ssh":
        raise RecipeError(f"cluster: 'hosts' is for 'ssh', and this is {request.kind!r}")
    if request.kind == ARRAY and any(getattr(request, key) for key in _OF_WORKERS):
        raise RecipeError(
            "cluster 'array' has the cores and memory of the processes that you start; leave "
            "'cores', 'memory' and 'gpus' out"
        )


def _whole(value: Any, key: str, *, least: int) -> int:
    if type(value) is not int or not least <= value <= 100_000:
        raise RecipeError(f"cluster: {key!r} is {value!r}; give a whole number from {least}")
    return value


def _bytes(value: Any) -> int:
    from dask.utils import parse_bytes

    try:
        size = int(parse_bytes(value))
    except (ValueError, TypeError, AttributeError):
        size = 0
    if size < 2**20:
        raise RecipeError(f"cluster: 'memory' is {value!r}; give bytes such as '16GB'")
    return size
