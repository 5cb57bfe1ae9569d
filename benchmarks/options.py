"""The command line of a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser_of(text: str, *, quick: str = "") -> argparse.ArgumentParser:
    """A parser that takes ``--json FILE``, and ``--quick`` where it says what that makes smaller.

    Parameters
    ----------
    text : str
        The benchmark's docstring: its first line is the description.
    quick : str
        The help of ``--quick``.
    """
    parser = argparse.ArgumentParser(description=text.partition("\n")[0])
    if quick:
        parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    return parser
