"""Log lines as JSON: every line of stderr is an object, whatever wrote it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from forked import run_command

from rsscale.progress import bars as progress
from rsscale.progress.json_log import log_as_json


@pytest.fixture
def as_json() -> Iterator[None]:
    log_as_json(enabled=True)
    try:
        yield
    finally:
        log_as_json(enabled=False)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("as_json")
def test_progress_messages_logs_and_warnings_are_objects(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_enabled", True)
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    with progress.progress("run", 4, "tiles") as bar:
        bar.note("read 40%")
        bar.advance(1)
    progress.announce("tiles     4 of 4 to compute")
    logging.getLogger("rsscale").warning("counted as %s", "not seen")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log_as_json(enabled=True)  # catch_warnings has put the display of warnings back
        warnings.warn("old", UserWarning, stacklevel=1)
    step, message, log, warning = lines(capsys.readouterr().err)
    assert (step["event"], step["stage"], step["done"], step["total"]) == ("progress", "run", 1, 4)
    assert step["note"] == "read 40%"
    assert step["left_seconds"] >= 0  # type: ignore[operator]
    assert (message["event"], message["level"]) == ("message", "info")
    assert (log["message"], log["level"], log["logger"]) == (
        "counted as not seen",
        "warning",
        "rsscale",
    )
    assert "UserWarning: old" in str(warning["message"])


@pytest.mark.usefixtures("as_json")
def test_secrets_are_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("rsscale").warning("asked https://user:word@example.org/a.tif?sig=abcdef0123")
    (line,) = lines(capsys.readouterr().err)
    assert "word" not in str(line)
    assert "abcdef0123" not in str(line)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "is_json"),
    [
        (["status", "nowhere", "--log-format", "json"], {}, 2, True),
        (["--log-format=json", "status"], {}, 2, True),
        (["status", "nowhere"], {"RSSCALE_LOG_FORMAT": "json"}, 2, True),
        (["status", "nowhere", "--log-format", "text"], {"RSSCALE_LOG_FORMAT": "json"}, 2, False),
        (["status", "nowhere", "--log-format", "jsn"], {}, 2, False),
        (["status", "nowhere", "--log-format"], {}, 2, False),
    ],
)
def test_errors_of_the_command_line(
    arguments: list[str], variables: dict[str, str], code: int, is_json: bool
) -> None:
    done = run_command(*arguments, env=variables)
    assert done.returncode == code
    if is_json:
        (line,) = lines(done.stderr)
        assert (line["event"], line["exit_code"]) == ("error", code)
    else:
        assert done.stderr.startswith("error: ")
        if "jsn" in arguments:
            assert "expected text or json, did you mean 'json'" in done.stderr.replace(
                "; did", ", did"
            )
