"""What a process has used so far."""

from __future__ import annotations

import sys
from pathlib import Path


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
