"""Prometheus metrics of the explorer's server; labels are routes of the one table, status codes and states, nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from meridian.node.observe.observation import exposition


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WebMetrics:
    """All values at one moment."""

    requests: Mapping[tuple[str, int], int]
    """(route, status) -> answers."""
    listeners: int
    complaints: Mapping[str, int]
    """State -> complaints."""
    rounds: int
    age_s: float
    """Since the site was last found up to date."""
    healthy: bool

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield GaugeMetricFamily(
            "meridian_web_site_current", "1 if the last look went well", value=int(self.healthy)
        )
        yield GaugeMetricFamily(
            "meridian_web_site_age_seconds", "Since the last look that went well", value=self.age_s
        )
        yield CounterMetricFamily("meridian_web_looks", "Looks that went well", value=self.rounds)
        yield GaugeMetricFamily(
            "meridian_web_listeners", "Clients that wait for events", value=self.listeners
        )
        complaints = GaugeMetricFamily("meridian_web_complaints", "Complaints", labels=["state"])
        for state, count in self.complaints.items():
            complaints.add_metric([state], count)
        yield complaints
        answers = CounterMetricFamily(
            "meridian_web_requests", "Answers", labels=["route", "status"]
        )
        for (route, status), count in self.requests.items():
            answers.add_metric([route, str(status)], count)
        yield answers

    def render(self, directory: Path) -> bytes:
        """Return the text, with what every process gives; `directory` is on the disk that is told of."""
        return exposition(self.collect(), directory)
