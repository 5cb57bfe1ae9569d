"""Serve a run's metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rsscale.errors import RecipeError


class Metrics:
    """Counts nothing; used when metrics are off."""

    def tile(self, result: Mapping[str, Any]) -> None:
        """Count a tile that was computed, by the summary of its entry."""

    def failure(self, step: str) -> None:
        """Count a tile that failed for good."""

    def state(self, done: int, total: int, failed: int, in_flight: int) -> None:
        """Set how far the run is."""


class Prometheus(Metrics):
    """Metrics of one run, in a registry of their own."""

    def __init__(self, registry: Any) -> None:
        from prometheus_client import Counter, Gauge

        def counter(name: str, text: str, *labels: str) -> Any:
            return Counter(f"rsscale_{name}", text, labels, registry=registry)

        self._tiles = counter("tiles", "Tiles computed", "step")
        self._failures = counter("tile_failures", "Tiles failed", "step")
        self._pixels = counter("pixels", "Pixels computed", "step")
        self._bytes = counter("decoded_bytes", "Bytes of pixels read", "step")
        self._stages = counter("stage_seconds", "Seconds of each stage", "step", "stage")
        self._state = Gauge("rsscale_run_tiles", "Tiles of the run", ["state"], registry=registry)

    def tile(self, result: Mapping[str, Any]) -> None:
        """Count a tile that was computed."""
        step, facts = result["step"], result["facts"]
        self._tiles.labels(step).inc()
        self._pixels.labels(step).inc(facts.get("pixels", 0))
        self._bytes.labels(step).inc(facts.get("decoded_bytes", 0))
        for stage, seconds in result["seconds"].items():
            self._stages.labels(step, stage).inc(max(seconds, 0.0))

    def failure(self, step: str) -> None:
        """Count a tile that failed for good."""
        self._failures.labels(step).inc()

    def state(self, done: int, total: int, failed: int, in_flight: int) -> None:
        """Set how far the run is."""
        values = {"total": total, "done": done, "failed": failed, "in_flight": in_flight}
        for name, value in values.items():
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
