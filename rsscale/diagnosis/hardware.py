"""Checks of cores, memory, GPU, and how the allocator was started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from rsscale.cluster import allocator
from rsscale.diagnosis.check import Check
from rsscale.memory import PROCESS_BYTES

_GIB = 2**30
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def hardware_checks() -> Iterator[Check]:
    """Cores, memory, GPU, allocator."""
    yield _cores()
    yield _memory()
    yield _gpu()
    yield _allocator()


def _cores() -> Check:
    import torch

    seen = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else seen
    threads = os.environ.get("OMP_NUM_THREADS")
    text = f"{usable} of {seen} cores, {torch.get_num_threads()} threads of torch"
    if threads and threads.isdigit() and int(threads) < usable:
        return Check(
            "cores", "note", f"{text}; OMP_NUM_THREADS={threads} keeps torch to fewer",
            "unset OMP_NUM_THREADS: runs set the threads of their processes themselves",
        )  # fmt: skip
    return Check("cores", "ok", text)


def memory_limit(paths: tuple[Path, ...] = _CGROUPS) -> int | None:
    """Bytes that a container or a job may take; None where nothing limits it."""
    for path in paths:
        try:
            said = path.read_text().strip()
        except OSError:
            continue
        if said.isdigit() and int(said) < psutil.virtual_memory().total:
            return int(said)
    return None


def _memory() -> Check:
    total, limit = psutil.virtual_memory().total, memory_limit()
    free = min(psutil.virtual_memory().available, limit or total)
    text = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f}"
    if limit:
        text += f"; this process may take {limit / _GIB:.1f} GiB"
    if free < 4 * PROCESS_BYTES:
        return Check("memory", "problem", text, "a worker takes 2 to 3 GiB; free some")
    return Check("memory", "ok", text)


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"torch is built for CUDA {built}" if built else "torch is built without CUDA"
        return Check("GPU", "ok", f"none is seen ({why}); networks run on the CPU")
    cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    text = ", ".join(f"{card.name} {card.total_memory / _GIB:.0f} GiB" for card in cards)
    return Check("GPU", "ok", text)


def _allocator() -> Check:
    if not allocator.has_glibc():
        return Check("allocator", "ok", "not glibc's")
    trim = os.environ.get("MALLOC_TRIM_THRESHOLD_")
    if trim is not None and trim.isdigit() and int(trim) < 2**20:
        return Check(
            "allocator", "note",
            f"MALLOC_TRIM_THRESHOLD_={trim} gives memory back at once, as Dask's nanny sets it: "
            "torch on the CPU is up to three times slower",
            "unset MALLOC_TRIM_THRESHOLD_",
        )  # fmt: skip
    return Check("allocator", "ok", "keeps freed memory as a run wants it")
