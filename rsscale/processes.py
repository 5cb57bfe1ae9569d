"""Memory of a process: what it holds beside its tiles, and what it has used so far."""

from __future__ import annotations

import sys
from pathlib import Path

PROCESS_BYTES = 840 * 2**20
"""What a worker holds before its tiles: Python, torch, GDAL and all else that a tile imports.

Measured as the resident memory of the one worker of ``local:1``, a new one for each kind of step,
on Linux with torch 2.15 (its build for CUDA, on the CPU), in a run of tiles of 64 px: 67 MiB when
it has started, 240 to 245 once it has read the plan, 758 to 770 with torch, which every run imports
to set its threads, and 821 to 839 after the first tile, of change, functions, overviews and zones
alike. (After one of a small network's map it is 887, with observations, composites and GDAL's
cache, which the map counts for itself.)
"""


def peak_rss() -> int:
    """Peak resident memory of this process so far, in bytes."""
    # getrusage would begin with what the process that started this one had.
    try:
        status = Path("/proc/self/status").read_text("ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
