"""What the server counts, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import Scope

from vilbench.serve.waiting import ScoringQueue

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_METHODS = frozenset({"GET", "HEAD", "POST"})


class Meters:
    """Counters of one server.

    Args:
        queue: Whose load is shown.
    """

    def __init__(self, queue: ScoringQueue) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vilbench_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "vilbench_request_seconds",
            "Seconds from a request's first byte to its answer's last.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_QueueMeters(queue))

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Notes a request; names of labels come from the routes, never from the client."""
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _QueueMeters:
    """Shows a queue's load as metrics."""

    def __init__(self, queue: ScoringQueue) -> None:
        self._queue = queue

    def collect(self) -> list[Metric]:
        """The present values."""
        load = self._queue.load
        counts = {
            "batches": ("Batches given to the scorer.", load.batches),
            "groups": ("Groups of solutions of one problem in them.", load.groups),
            "solutions_scored": ("Solutions in them.", load.solutions),
            "queue_refused": ("Requests that found the queue full.", load.refused),
        }
        gauges = {
            "queue_waiting": ("Requests that wait for the scorer.", self._queue.waiting),
            "batches_running": ("Batches being scored.", load.running),
        }
        return [
            *(
                CounterMetricFamily(f"vilbench_{name}", told, value=float(value))
                for name, (told, value) in counts.items()
            ),
            *(
                GaugeMetricFamily(f"vilbench_{name}", told, value=float(value))
                for name, (told, value) in gauges.items()
            ),
        ]
