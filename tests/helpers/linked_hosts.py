"""Several hosts on this machine: network namespaces that one switch links, and links to cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fault_cluster import Command

_NETWORK = "10.77.13"


def missing() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if shutil.which("ip") is None:
        return "no ip of iproute2"
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return "" if os.getuid() == 0 and tried.returncode == 0 else "namespaces need root"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@dataclass(frozen=True)
class Host:
    """A namespace with one address; its files are those of this machine, as on a shared disk."""

    name: str
    address: str
    switch: str

    def start(self, words: list[str], log: Path, env: dict[str, str]) -> Command:
        """A command of Python there."""
        return Command.start(words, log, env, before=["ip", "netns", "exec", self.name])

    def cut(self) -> None:
        """Pull the cable: nothing comes through, and nobody is told."""
        _ip("-n", self.switch, "link", "set", self.name, "down")

    def restore(self) -> None:
        _ip("-n", self.switch, "link", "set", self.name, "up")


@contextmanager
def linked_hosts(count: int) -> Iterator[list[Host]]:
    """Hosts on one switch, that see each other and nothing else."""
    prefix = f"rs{os.getpid()}"
    switch = f"{prefix}s"
    made = []
    try:
        _ip("netns", "add", switch)
        made.append(switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        hosts = []
        for number in range(count):
            host = Host(f"{prefix}h{number}", f"{_NETWORK}.{number + 1}", switch)
            _ip("netns", "add", host.name)
            made.append(host.name)
            _ip("-n", host.name, "link", "add", "eth0", "type", "veth",
                "peer", "name", host.name, "netns", switch)  # fmt: skip
            _ip("-n", switch, "link", "set", host.name, "master", "bridge", "up")
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", link, "up")
            hosts.append(host)
        yield hosts
    finally:
        for name in reversed(made):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
