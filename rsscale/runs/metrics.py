"""Numbers for Prometheus, on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rsscale.errors import RecipeError


class Metrics:
    """Counts nothing; what a run uses when nobody asks."""

    def tile(self, result: Mapping[str, Any]) -> None:
        """A tile was computed."""

    def failure(self) -> None:
        """A tile failed for good."""

    def state(self, done: int, total: int, failed: int, in_flight: int) -> None:
        """How far the run is."""


class Prometheus(Metrics):
    """Metrics of one run, in a registry of their own."""

    def __init__(self, registry: Any) -> None:
        from prometheus_client import Counter, Gauge

        self._tiles = Counter("rsscale_tiles", "Tiles computed", registry=registry)
        self._failures = Counter("rsscale_tile_failures", "Tiles failed", registry=registry)
        self._pixels = Counter("rsscale_pixels", "Pixels mapped", registry=registry)
        self._bytes = Counter("rsscale_decoded_bytes", "Bytes of pixels read", registry=registry)
        self._stages = Counter(
            "rsscale_stage_seconds", "Seconds of each stage", ["stage"], registry=registry
        )
        self._state = Gauge("rsscale_run_tiles", "Tiles of the run", ["state"], registry=registry)

    def tile(self, result: Mapping[str, Any]) -> None:
        """A tile was computed."""
        self._tiles.inc()
        self._pixels.inc(result["pixels"])
        self._bytes.inc(result["decoded_bytes"])
        for stage, seconds in result["seconds"].items():
            self._stages.labels(stage).inc(max(seconds, 0.0))

    def failure(self) -> None:
        """A tile failed for good."""
        self._failures.inc()

    def state(self, done: int, total: int, failed: int, in_flight: int) -> None:
        """How far the run is."""
        told = {"total": total, "done": done, "failed": failed, "in_flight": in_flight}
        for name, value in told.items():
            self._state.labels(name).set(value)


@contextmanager
def serve_metrics(port: int | None) -> Iterator[Metrics]:
    """Metrics on ``http://localhost:PORT/metrics`` while the ``with`` block runs.

    Raises
    ------
    RecipeError
        When the port is taken, or the extra ``rsscale[metrics]`` is not installed.
    """
    if port is None:
        yield Metrics()
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise RecipeError(
            "metrics were asked for; install them with: pip install 'rsscale[metrics]'"
        ) from None
    registry = CollectorRegistry()
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise RecipeError(f"metrics can't be served on port {port}: {error.strerror}") from None
    try:
        yield Prometheus(registry)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
