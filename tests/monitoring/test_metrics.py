"""Metrics for Prometheus, served while a run is at work."""

import requests

from rsscale.monitoring.metrics import serve_metrics


def test_metrics_are_served() -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serve_metrics(port) as metrics:
        facts = {"pixels": 10, "decoded_bytes": 5}
        result = {"step": "map", "facts": facts, "seconds": {"read": 1.5}}
        metrics.tile(result)
        metrics.failure("map")
        metrics.state(3, 9, 1, 2)
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    for line in (
        'rsscale_tiles_total{step="map"} 1.0',
        'rsscale_tile_failures_total{step="map"} 1.0',
        'rsscale_pixels_total{step="map"} 10.0',
        'rsscale_stage_seconds_total{stage="read",step="map"} 1.5',
        'rsscale_run_tiles{state="done"} 3.0',
        'rsscale_run_tiles{state="in_flight"} 2.0',
    ):
        assert line in text
    with serve_metrics(None) as nothing:
        nothing.tile(result)
