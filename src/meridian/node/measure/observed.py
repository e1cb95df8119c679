"""What the measure service tells its operator."""

from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from meridian.node.measure.cosigning import Cosigning
from meridian.node.measure.following import Following
from meridian.node.measure.intake import Intake
from meridian.node.measure.journal import Journal
from meridian.node.measure.settling import Settling
from meridian.node.observe.observation import Observation

WAITING_HIGH: Final = 4096
"""So many requests in the queue are told as a problem: senders get 429 soon."""


def observe(
    intake: Intake,
    journal: Journal,
    settling: Settling | Following,
    cosigning: Cosigning | None,
    failure: BaseException | None,
) -> Observation:
    """Return what the operator is told."""
    opened, waiting = journal.open_epoch, intake.waiting
    jobs, duplicates = journal.counts(opened)
    unsettled = opened - settling.settled_before
    problem = settling.problem
    if problem is None and waiting > WAITING_HIGH:
        problem = f"{waiting} requests wait for the disk"
    metrics = [
        GaugeMetricFamily(
            "meridian_measure_open_epoch", "The first epoch that takes jobs", value=opened
        ),
        GaugeMetricFamily(
            "meridian_measure_unsettled_epochs",
            "Epochs that are sealed and not committed yet",
            value=unsettled,
        ),
        GaugeMetricFamily("meridian_measure_open_jobs", "Jobs of the open epoch", value=jobs),
        GaugeMetricFamily(
            "meridian_measure_open_duplicates",
            "Jobs of the open epoch that had been accepted before",
            value=duplicates,
        ),
        CounterMetricFamily(
            "meridian_measure_receipts", "Receipts given, ever", value=journal.receipts
        ),
        GaugeMetricFamily(
            "meridian_measure_waiting_requests",
            "Requests that wait to be admitted",
            value=waiting,
        ),
        GaugeMetricFamily(
            "meridian_measure_remembered_jobs",
            "Jobs with which new ones are compared",
            value=len(journal.seen),
        ),
        GaugeMetricFamily(
            "meridian_measure_log_bytes", "Length of the job log", value=journal.log_bytes
        ),
        GaugeMetricFamily(
            "meridian_measure_commit_blocked",
            "1 while the oldest sealed epoch cannot be committed",
            value=int(settling.problem is not None),
        ),
    ]
    return Observation(
        ready=failure is None and waiting <= WAITING_HIGH,
        failed=None if failure is None else f"a thread has stopped: {failure}",
        problem=problem,
        detail={
            "open_epoch": opened,
            "open_jobs": jobs,
            "settled_before": settling.settled_before,
            "sealing": settling.sealing,
            "waiting_requests": waiting,
            "receipts": journal.receipts,
            "clock_us": intake.now_us(),
            "log_bytes": journal.log_bytes,
            "witnesses": None if cosigning is None else cosigning.document(),
        },
        metrics=metrics,
    )
