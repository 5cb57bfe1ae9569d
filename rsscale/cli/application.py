"""The command line as such: its options that stand anywhere, errors in one line, exit codes."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rsscale.cli.examples import epilog_of, group_of, place_of
from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.pools import has_abandoned_tasks
from rsscale.errors import RecipeError, RsscaleError, nearest
from rsscale.progress.bars import show_progress
from rsscale.progress.json_log import is_json, log_as_json, write_line
from rsscale.text.redaction import redact_logs, scrub

LOG_FORMAT = "RSSCALE_LOG_FORMAT"
"""Environment variable with the format of log lines, ``text`` or ``json``."""

_LOG_FORMATS = ("text", "json")
_SPINS = "10000"

app = typer.Typer(
    help="Deep learning for remote sensing at country scale.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="--quiet shows no progress, --debug shows where an error came from, --log-format json "
    "(or RSSCALE_LOG_FORMAT=json) writes log lines as JSON; they may stand anywhere.",
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

    name = function.__name__
    app.command(epilog=epilog_of(name), rich_help_panel=group_of(name))(wrapped)
    return function


def order_commands() -> None:
    """Put the commands in the order of the help, once all are there."""
    app.registered_commands.sort(
        key=lambda command: place_of(getattr(command.callback, "__name__", ""))
    )


def run_command_line(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, quiet = "--debug" in words, "--quiet" in words
    words = [word for word in words if word not in ("--debug", "--quiet")]
    try:
        words, log_format = _log_format(words)
    except RsscaleError as error:
        _tell_error(str(error), error.exit_code)
        sys.exit(error.exit_code)
    log_as_json(log_format == "json")
    show_progress(not quiet)
    redact_logs()
    keep_memory()  # before there are threads: training, too, is faster by it
    _wait_without_spinning()
    _leave(_invoke(words, debug=debug))


def _wait_without_spinning() -> None:
    """Let waiting threads of torch spin shortly, then sleep.

    By default they spin for long, which takes a core from whatever else computes on the machine,
    and from the thread that they wait for. So few turns are as fast on a quiet machine, where
    sleeping at once costs a sixth of small networks. OpenMP reads this when torch is loaded, which
    no command has been that far; ``import rsscale`` leaves the process of a user as it is, and what
    the environment says of it counts.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def _log_format(words: list[str]) -> tuple[list[str], str]:
    """The words without ``--log-format``, and the format of log lines: text or json."""
    chosen, rest = os.environ.get(LOG_FORMAT) or "text", list(words)
    for number, word in enumerate(words):
        name, is_joined, value = word.partition("=")
        if name != "--log-format":
            continue
        if not is_joined:
            value = words[number + 1] if number + 1 < len(words) else ""
        chosen = value
        del rest[number : number + (1 if is_joined else 2)]
        break
    if chosen not in _LOG_FORMATS:
        raise RecipeError(
            f"the log format is {chosen!r}; expected {' or '.join(_LOG_FORMATS)}"
            f"{nearest(chosen, _LOG_FORMATS)}"
        )
    return rest, chosen


def _tell_error(message: str, exit_code: int) -> None:
    """One line on stderr."""
    if is_json():
        write_line("error", "error", message, exit_code=exit_code)
    else:
        print(f"error: {message}", file=sys.stderr)


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
        if is_json():
            _tell_error(error.format_message(), 2)
        else:
            error.show()
        return 2
    except RsscaleError as error:
        if debug:
            _show_where(error)
        _tell_error(str(error), error.exit_code)
        return error.exit_code
    except (_InterruptedError, typer.Abort, KeyboardInterrupt) as error:
        if is_json():
            write_line("warning", "interrupted", str(error), exit_code=130)
        else:
            print(f"\n{scrub(str(error))}" if str(error) else "\ninterrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 -- a person gets one line of anything
        hint = "" if debug else " (--debug shows where)"
        if debug:
            _show_where(error)
        _tell_error(f"{type(error).__name__}: {scrub(str(error))}{hint}", 1)
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
