"""Slurm itself on this machine: its daemons in a folder, on free ports, and commands for them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fault_cluster import PATIENCE, _free_port, until

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol")
_CPUS = 8
_CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
# A job that is requeued waits until the credentials of its last start are void: two minutes, else.
AuthInfo=socket={folder}/munge.sock,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# More cores than there are: tests are about what Slurm does, not about how fast.
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,sched_min_interval=100000
AccountingStorageType=accounting_storage/none
MpiDefault=none
KillWait=10
MinJobAge=600
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs that are not on this machine."""
    return [name for name in NEEDED if shutil.which(name) is None]


@dataclass
class Slurm:
    """A controller and one node; its user is who runs the tests, which must be root."""

    folder: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self._start_munge()
        values = {
            "host": socket.gethostname(), "controller": _free_port(), "daemon": _free_port(),
            "folder": self.folder, "user": "root", "cpus": _CPUS,
        }  # fmt: skip
        self.configuration.write_text(_CONFIGURATION.format(**values))
        for name in ("slurmctld", "slurmd"):
            self._daemon(name, "-D", "-f", str(self.configuration))
        until(lambda: "idle" in self.ask("sinfo", "--noheader", "-o", "%T"), "a node of Slurm", 60)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    def _start_munge(self) -> None:
        """Who proves to each other that they are of one cluster."""
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"key-file": key, "socket": self.folder / "munge.sock"}
        files |= {f"{name}-file": self.folder / f"munge.{name}" for name in ("pid", "log", "seed")}
        words = [f"--{option}={path}" for option, path in files.items()]
        self._daemon("munged", "--foreground", "--force", *words)
        until(files["socket"].exists, "munge", 30)

    def _daemon(self, *words: str) -> None:
        log = (self.folder / f"{words[0]}.out").open("wb")
        with log:
            daemon = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.daemons.append(daemon)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.configuration)}

    def ask(self, *words: str, **env: str) -> str:
        """What a command of Slurm says; an error of it too."""
        done = subprocess.run(
            words, check=False, capture_output=True, text=True,
            env={**os.environ, **self.environment, **env},
        )  # fmt: skip
        return done.stdout + done.stderr

    def submit(self, script: Path, *words: str, options: list[str], env: dict[str, str]) -> str:
        """Submit a script; the number of its job."""
        command = ["sbatch", "--parsable", *options, str(script), *words]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**env, **self.environment}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def jobs(self, job: str = "") -> list[dict[str, str]]:
        """What Slurm knows of jobs, also of those that have ended: of an array, of each."""
        found = []
        for line in self.ask("scontrol", "--oneliner", "show", "job", *filter(None, [job])).split(
            "\n"
        ):
            told = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "JobId" in told:
                found.append(told)
        return found

    def states(self, job: str) -> list[str]:
        return [one["JobState"] for one in self.jobs(job)]

    def process_of(self, task: str) -> psutil.Process:
        """The process of rsscale in a job of an array, such as ``7_2``."""
        array, index = task.split("_")
        wanted = {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index}
        for process in psutil.process_iter():
            try:
                is_ours = any(word.endswith("rsscale") for word in process.cmdline()[:3])
                if is_ours and wanted.items() <= process.environ().items():
                    return process
            except psutil.Error:
                continue
        raise AssertionError(f"no rsscale in job {task}")

    def wait(self, job: str, within: float = PATIENCE) -> list[dict[str, str]]:
        """Wait for the end of all jobs of an array."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        until(lambda: set(self.states(job)) <= over, f"job {job}: {self.states(job)}", within, 0.5)
        return self.jobs(job)

    def stop(self) -> None:
        self.ask("scancel", "--user=root")
        end = time.monotonic() + 20
        while "RUNNING" in self.states("") and time.monotonic() < end:
            time.sleep(0.2)
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
