"""A webhook is told how a run ended, and a run does not depend on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import checked_map
import pytest

import rsscale as rs
from rsscale.errors import RecipeError, RsscaleError
from rsscale.monitoring import webhook
from rsscale.runs.run import RunOptions


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(json.loads(content))  # type: ignore[attr-defined]
        self.send_response(self.server.answers)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        receiver.posted, receiver.answers = [], 200  # type: ignore[attr-defined]
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def address(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/hook/T0PSECRET"


def run(folder: Path, watch: RunOptions | None = None, **changes: object) -> None:
    with checked_map.allowed():
        rs.run(
            checked_map.recipe(tile=512, **changes), folder, threads=1, device="cpu", watch=watch
        )


def test_the_end_of_a_run_is_posted(
    tmp_path: Path, server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(webhook.WEBHOOK, address(server))
    run(tmp_path / "run")
    (posted,) = server.posted  # type: ignore[attr-defined]
    assert (posted["state"], posted["exit_code"], posted["failed"]) == ("done", 0, [])
    assert posted["tiles"]["done"] == posted["tiles"]["total"] > 0
    assert posted["text"].startswith("rsscale run ")
    assert posted["error"] is None
    assert "T0PSECRET" not in (tmp_path / "run" / "run.json").read_text()


def test_what_is_refused_and_what_fails_is_posted(
    tmp_path: Path, server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = RunOptions(webhook=address(server))
    with pytest.raises(RecipeError):
        run(tmp_path / "refused", watch, steps={"map": {"kind": "checked_map:NoSuchMap"}})
    with pytest.raises(RecipeError):
        run(tmp_path / "unread", watch, perods=[2023])
    monkeypatch.setattr(checked_map, "values", lambda *_: 1 / 0)
    with pytest.raises(RsscaleError):
        run(tmp_path / "failed", watch)
    refused, unread, failed = server.posted  # type: ignore[attr-defined]
    assert (refused["state"], refused["exit_code"], refused["tiles"]) == ("refused", 2, None)
    assert "NoSuchMap" in refused["text"]
    assert "perods" in unread["text"]
    assert (failed["state"], failed["exit_code"]) == ("failed", 1)
    assert "ZeroDivisionError" in failed["failed"][0]["error"]


def test_interrupted_and_unfinished_have_their_states(tmp_path: Path) -> None:
    from rsscale.errors import MoreToDoError
    from rsscale.store.run_folder import RunFolder

    folder = RunFolder.at(tmp_path / "none")
    assert webhook.ended_so(folder, KeyboardInterrupt("stopped"))["state"] == "interrupted"
    assert webhook.ended_so(folder, MoreToDoError("later"))["state"] == "unfinished"


def test_a_webhook_that_fails_is_told_and_changes_nothing(
    tmp_path: Path, server: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = 403  # type: ignore[attr-defined]
    run(tmp_path / "run", RunOptions(webhook=address(server)))
    assert "the webhook at 127.0.0.1 refused what was posted: HTTP 403" in caplog.text
    assert "T0PSECRET" not in caplog.text
    assert rs.Run(tmp_path / "run").state["state"] == "done"


def test_one_that_is_not_there_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "policy", lambda: 0)
    run(tmp_path / "run", RunOptions(webhook="http://127.0.0.1:9/T0PSECRET"))
    assert "the webhook at 127.0.0.1 was not reached" in caplog.text
    assert "T0PSECRET" not in caplog.text


@pytest.mark.parametrize("wrong", ["hooks.example.org/T0PSECRET", "file:///T0PSECRET"])
def test_an_address_that_is_none_is_refused_before_anything_begins(
    tmp_path: Path, wrong: str
) -> None:
    with pytest.raises(RecipeError, match="no address of HTTP") as refused:
        run(tmp_path / "run", RunOptions(webhook=wrong))
    assert "T0PSECRET" not in str(refused.value)
    assert not (tmp_path / "run").exists()
