"""A server of files, with ranges, as its own command: FOLDER HOST PORT."""

import http.server
import sys
from pathlib import Path

from fault_server import Faults, _Handler

if __name__ == "__main__":
    root, host, port = sys.argv[1:]
    handler = type("Handler", (_Handler,), {"faults": Faults(Path(root))})
    server = http.server.ThreadingHTTPServer((host, int(port)), handler)
    server.daemon_threads = True
    print("serving", flush=True)  # noqa: T201
    server.serve_forever()
