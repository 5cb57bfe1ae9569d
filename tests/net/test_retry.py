"""Why a request failed, told from the exceptions of requests and urllib3."""

import http.client
import socket
import ssl
import threading
from io import BytesIO

import pytest
import requests
import urllib3
from urllib3.exceptions import (
    IncompleteRead,
    InvalidChunkLength,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    ResponseError,
    SSLError,
)

from rsscale.net.retry import why_no_answer

POOL = urllib3.HTTPConnectionPool("archive.test")
CONNECTION = urllib3.connection.HTTPConnection("archive.test")
PATH = "/a.tif?sig=x"


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """As ``raise error from cause`` leaves it."""
    error.__cause__ = cause
    return error


def given_up(reason: Exception) -> requests.ConnectionError:
    """As requests has it from urllib3, which tried again."""
    return requests.ConnectionError(caused(MaxRetryError(POOL, PATH, reason), reason))


def no_connection(error: OSError) -> BaseException:
    return caused(NewConnectionError(CONNECTION, f"Failed to establish: {error}"), error)


# Messages in another language, or without words: the classes alone say what it was.
REFUSED = no_connection(ConnectionRefusedError(111, "Verbindungsaufbau abgelehnt"))
NO_HOST = NameResolutionError("archive.test", CONNECTION, socket.gaierror(-2, "unbekannt"))
CUT = ProtocolError("Verbindung", IncompleteRead(10, 90))
BAD_CHUNK = InvalidChunkLength(urllib3.HTTPResponse(BytesIO()), b"")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (requests.ReadTimeout(ReadTimeoutError(POOL, PATH, "")), "silence"),
        (requests.ConnectionError(ReadTimeoutError(POOL, PATH, "")), "silence"),
        (ReadTimeoutError(POOL, PATH, ""), "silence"),
        (urllib3.exceptions.ConnectTimeoutError(CONNECTION, ""), "silence"),
        (requests.ConnectTimeout(), "silence"),
        (ProtocolError("", TimeoutError()), "silence"),
        (REFUSED, "connection refused"),
        (given_up(REFUSED), "connection refused"),
        (given_up(ProxyError("", REFUSED)), "connection refused"),
        (NO_HOST, "no such host"),
        (given_up(NO_HOST), "no such host"),
        (given_up(no_connection(OSError(101, "unreachable"))), "NewConnectionError"),
        (SSLError(ssl.SSLCertVerificationError(1, "")), "its TLS certificate is not accepted"),
        (requests.exceptions.SSLError(), "its TLS certificate is not accepted"),
        (ssl.SSLEOFError(), "its TLS certificate is not accepted"),
        (CUT, "the answer was cut short"),
        (requests.exceptions.ChunkedEncodingError(CUT), "the answer was cut short"),
        (ProtocolError("", http.client.IncompleteRead(b"")), "the answer was cut short"),
        (ProtocolError("", BAD_CHUNK), "the connection was dropped"),
        (ProtocolError("", ConnectionResetError(104, "")), "the connection was dropped"),
        (requests.ConnectionError(ProtocolError("")), "the connection was dropped"),
        (requests.ConnectionError(http.client.RemoteDisconnected()), "the connection was dropped"),
        (BrokenPipeError(), "the connection was dropped"),
        (given_up(ResponseError("too many 503 error responses")), "ResponseError"),
        (requests.exceptions.InvalidURL("http://"), "InvalidURL"),
        (FileNotFoundError(2, "missing.pem"), "FileNotFoundError"),
    ],
)  # fmt: skip
def test_by_the_classes_of_the_exceptions(error: BaseException, why: str) -> None:
    assert why_no_answer(error) == why


def raised(call, *args, **options) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- which one is what is asked
        call(*args, **options)
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("library", ["requests", "urllib3"])
class TestReal:
    """What the libraries raise today."""

    def get(self, library: str, url: str, **options) -> BaseException:
        if library == "requests":
            session = requests.Session()
            session.trust_env = False
            return raised(session.get, url, timeout=options.get("timeout", 5))
        timeout = options.get("timeout", 5)
        return raised(urllib3.request, "GET", url, retries=False, timeout=timeout)

    def test_nobody_listens(self, library: str) -> None:
        error = self.get(library, f"http://127.0.0.1:{free_port()}/")
        assert why_no_answer(error) == "connection refused"

    def test_a_name_that_is_none(self, library: str) -> None:
        assert why_no_answer(self.get(library, "http://no.such.host.invalid/")) == "no such host"

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (None, "silence"),
            (b"", "the connection was dropped"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "the answer was cut short"),
        ],
    )
    def test_a_server_that_does_not_answer_well(
        self, library: str, answer: bytes | None, why: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            done = threading.Event()

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    if answer is None:
                        done.wait(10)
                    else:
                        connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            error = self.get(library, url, timeout=0.2 if answer is None else 5)
            done.set()
            thread.join()
        assert why_no_answer(error) == why
