"""A file server on loopback that honours Range and fails as it is told to."""

import http.server
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Faults:
    """What the server does next, and what it was asked.

    ``script`` holds one fault for each of the next requests: ``None`` to serve, a status, a
    ``(status, headers, body)``, ``"reset"`` (drops the connection), ``"short"`` (half of the
    promised bytes), ``"stall"`` (headers, half of the bytes, silence), ``"html"`` or
    ``"whole"`` (ignores Range). ``always`` applies when the script is used up.
    """

    root: Path
    url: str = ""
    script: list = field(default_factory=list)
    always: object = None
    needs: str | None = None  # what the query has to hold
    requests: list = field(default_factory=list)
    headers: list = field(default_factory=list)  # of each request
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path, wanted):
        with self.lock:
            self.requests.append((path, wanted))
            return self.script.pop(0) if self.script else self.always

    def ranges(self):
        return [wanted for _, wanted in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet
    faults: Faults

    def do_GET(self):
        path, _, query = self.path.partition("?")
        match = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        wanted = (int(match[1]), int(match[2]) + 1) if match else None
        self.faults.headers.append(dict(self.headers))
        fault = self.faults.take(path, wanted)
        if self.faults.needs is not None and self.faults.needs not in query:
            fault = 403
        self.answer(path, wanted, fault)

    def answer(self, path, wanted, fault):
        # A proxy is asked for whole addresses.
        file = self.faults.root / urlsplit(path).path.lstrip("/")
        if isinstance(fault, int):
            return self.send(fault, {}, b"no")
        if isinstance(fault, tuple):
            return self.send(*fault)
        if fault == "reset":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if fault == "html":
            page = b"<!DOCTYPE html><html>please log in</html>"
            return self.send(200, {"Content-Type": "text/html"}, page)
        if not file.is_file():
            return self.send(404, {}, b"not here")
        body, total = file.read_bytes(), file.stat().st_size
        if fault == "whole" or wanted is None:
            return self.send(200, {}, body)
        start, stop = wanted[0], min(wanted[1], total)
        if start >= total:
            return self.send(416, {"Content-Range": f"bytes */{total}"}, b"")
        headers = {
            "Content-Range": f"bytes {start}-{stop - 1}/{total}",
            "ETag": f'"{file.stat().st_mtime_ns:x}"',
        }
        return self.send(206, headers, body[start:stop], fault)

    def send(self, status, headers, body, fault=None):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if fault in ("short", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "stall":
                time.sleep(1.5)
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serve(root, tls=None):
    faults = Faults(Path(root))

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"faults": faults}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    faults.url = f"http{'' if tls is None else 's'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
