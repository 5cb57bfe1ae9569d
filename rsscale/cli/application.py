"""The command line as such: its options that stand anywhere, errors in one line, exit codes."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.pools import has_abandoned_tasks
from rsscale.errors import RsscaleError
from rsscale.progress import show_progress
from rsscale.redaction import redact_logs, scrub

app = typer.Typer(
    help="Deep learning for remote sensing at country scale.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="--quiet shows no progress, --debug shows where an error came from; "
    "both may stand anywhere.",
)

# Newer typer brings its own copy of click, whose errors are not click's.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class _InterruptedError(Exception):
    """Carries the message of a KeyboardInterrupt past click, which would drop it."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command that keeps what an interrupted run has to say."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
        except KeyboardInterrupt as error:
            raise _InterruptedError(str(error)) from None

    app.command()(wrapped)
    return function


def run_command_line(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, quiet = "--debug" in words, "--quiet" in words
    words = [word for word in words if word not in ("--debug", "--quiet")]
    show_progress(not quiet)
    redact_logs()
    keep_memory()  # before there are threads: training, too, is faster by it
    _leave(_invoke(words, debug=debug))


def _leave(code: int) -> None:
    """End the process, also when tiles that were abandoned are still computed by its threads."""
    if has_abandoned_tasks():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _invoke(words: list[str], *, debug: bool) -> int:
    """Run one command; errors become one line, and an exit code."""
    try:
        result = app(words, standalone_mode=False, prog_name="rsscale")
    except _UsageError as error:
        error.show()
        return 2
    except RsscaleError as error:
        if debug:
            _show_where(error)
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (_InterruptedError, typer.Abort, KeyboardInterrupt) as error:
        print(f"\n{scrub(str(error))}" if str(error) else "\ninterrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 -- a person gets one line of anything
        hint = "" if debug else " (--debug shows where)"
        if debug:
            _show_where(error)
        print(f"error: {type(error).__name__}: {scrub(str(error))}{hint}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _show_where(error: BaseException) -> None:
    """Print where an error came from; other libraries' messages quote addresses and headers."""
    print(scrub("".join(traceback.format_exception(error))), file=sys.stderr, end="")


def _version(value: bool) -> None:
    if value:
        from rsscale import __version__

        print(f"rsscale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Deep learning for remote sensing at country scale."""
