"""A small server of one product for the viewer's page, on this machine only.

It serves the app, what the app asks of the run, and the Zarr stores that it reads; nothing else of
the folder. Python's own ``http.server`` ignores ``Range``, by which chunks of a shard are read.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any, Protocol

from rsscale.errors import RsscaleError
from rsscale.store.storage import Folder, Storage
from rsscale.viewer.requests import byte_range, is_own_host, path_parts

_log = logging.getLogger(__name__)
_BLOCK = 2**18
# Requests that are worked on at a time, and connections that are open: others wait in the queue of
# the system, so that neither threads nor files run out.
_THREADS, _CONNECTIONS, _QUEUE = 32, 128, 1024
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "geojson": "application/geo+json",
    "txt": "text/plain; charset=utf-8",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self' http://localhost:* http://127.0.0.1:*"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Sent with every answer: the page loads nothing from elsewhere, and no other page may read it."""


class Pages(Protocol):
    """What is served: pages by name, and which stores of the folder."""

    @property
    def stores(self) -> dict[str, Storage]:
        """Stores by the names that the page calls them by."""

    def page(self, name: str) -> bytes | None:
        """Content of a file by its name within ``viewer/``."""

    def drawn(self, step: str, name: str) -> Storage | None:
        """Where a file lies that objects of a step are drawn from; None where there is none."""


class ProductServer(TCPServer):
    """Serves one product at 127.0.0.1.

    Parameters
    ----------
    pages : Pages
    port : int
        0 takes any that is free.

    Raises
    ------
    OSError
        When the port is taken.
    """

    allow_reuse_address = True
    request_queue_size = _QUEUE
    address_family = socket.AF_INET

    def __init__(self, pages: Pages, port: int = 0) -> None:
        self.pages = pages
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._waiting, self._counting = 0, threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="viewer")
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.server_address[1]}/viewer/"

    @property
    def is_busy(self) -> bool:
        """Whether connections wait for a thread, so that none may be kept for later requests."""
        return self._waiting > 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """Work on a connection in a thread, once there is a place for it."""
        self._places.acquire()
        with self._counting:
            self._waiting += 1
        self._pool.submit(self._work, request, client_address)

    def _work(self, request: Any, client_address: Any) -> None:
        with self._counting:
            self._waiting -= 1
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the other side is gone
        except Exception:  # noqa: BLE001 -- one request must not end the others
            _log.exception("a request failed")
        finally:
            self.shutdown_request(request)
            self._places.release()

    def server_close(self) -> None:
        """Close the socket; requests that are worked on are finished."""
        super().server_close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ProductServer
    protocol_version = "HTTP/1.1"
    server_version = "rsscale"
    sys_version = ""
    timeout = 5  # seconds without a byte

    def do_GET(self) -> None:
        """Answer with a file, or a part of one."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self._answer()

    def _not_allowed(self) -> None:
        self.close_connection = True  # its body is not read
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = _not_allowed  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's name
        """Keep quiet: the page asks for hundreds of files."""
        _log.debug(format, *args)

    def _answer(self) -> None:
        if self.server.is_busy:
            self.close_connection = True
        if not is_own_host(self.headers.get("Host")):
            self._say(HTTPStatus.FORBIDDEN, "this server answers 127.0.0.1 and localhost only")
            return
        parts = path_parts(self.path)
        if parts == ["index.html"]:
            self._say(HTTPStatus.FOUND, "the page is at /viewer/", {"Location": "/viewer/"})
            return
        try:
            match parts:
                case ["viewer", "objects", step, name]:
                    self._send_drawn(step, name)
                case ["viewer", *names] if names:
                    self._send_page("/".join(names))
                case [store, *names] if names and store in self.server.pages.stores:
                    self._send_object(self.server.pages.stores[store], "/".join(names))
                case _:
                    self._say(HTTPStatus.NOT_FOUND, "there is no such file")
        except RsscaleError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _send_page(self, name: str) -> None:
        content = self.server.pages.page(name)
        if content is None:
            self._say(HTTPStatus.NOT_FOUND, "there is no such file")
            return
        self._send(name, len(content), "", lambda start, stop: iter([content[start:stop]]))

    def _send_drawn(self, step: str, name: str) -> None:
        """Send a file that objects are drawn from, which may be large."""
        storage = self.server.pages.drawn(step, name)
        if storage is None:
            self._say(HTTPStatus.NOT_FOUND, "there is no such file")
        else:
            self._send_object(storage, name)

    def _send_object(self, storage: Storage, name: str) -> None:
        """Send an object of a store, in blocks."""
        try:
            if isinstance(storage, Folder):
                inside = storage.path.resolve()
                if not (inside / name).resolve().is_relative_to(inside):
                    raise FileNotFoundError(name)  # a link that leads out
            size, version = storage.stat(name)
        except OSError:
            self._say(HTTPStatus.NOT_FOUND, "there is no such file")
            return

        def read(start: int, stop: int) -> Iterator[bytes]:
            for first in range(start, stop, _BLOCK):
                yield storage.read_range(name, first, min(first + _BLOCK, stop))

        self._send(name, size, version, read)

    def _send(self, name: str, size: int, version: str, read: Any) -> None:
        tag = f'"{version}"' if version else ""
        headers = {"Accept-Ranges": "bytes"} | ({"ETag": tag} if tag else {})
        if tag and self.headers.get("If-None-Match") in (tag, "*"):
            self._head(HTTPStatus.NOT_MODIFIED, headers)
            return
        asked = self.headers.get("Range")
        if self.headers.get("If-Range", tag) != tag:
            asked = None
        try:
            part = byte_range(asked, size)
        except ValueError:
            headers["Content-Range"] = f"bytes */{size}"
            self._say(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "beyond the end", headers)
            return
        start, stop = part or (0, size)
        kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        headers |= {"Content-Type": kind, "Content-Length": str(stop - start)}
        if part:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._head(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, headers)
        if self.command == "HEAD":
            return
        sent = 0
        for block in read(start, stop):
            self.wfile.write(block)
            sent += len(block)
        if sent != stop - start:  # replaced by a shorter one meanwhile: the client must see it
            self.close_connection = True

    def _say(self, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> None:
        content = f"{text}\n".encode()
        kind = {"Content-Type": _TYPES["txt"], "Content-Length": str(len(content))}
        self._head(status, kind | (headers or {}))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (HEADERS | headers).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
