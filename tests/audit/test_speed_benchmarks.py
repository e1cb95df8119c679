"""Slices of the benchmarks `verification`, `aggregation` and `seal`: they check what they compute. Not timed."""

from pathlib import Path

import pytest


@pytest.fixture
def _checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))


@pytest.mark.usefixtures("_checkout")
def test_an_epoch_is_committed_evaluated_and_verified() -> None:
    """The benchmark raises unless every link of the chain of evidence holds."""
    from benchmarks import verification

    result = verification.measure(jobs=1_500, nodes=12)
    assert (result["jobs"], result["links"]) == (1_500, 19)
    assert set(result["seconds"]) == {
        "commit",
        "gather",
        "evaluate",
        "union of 2",
        "union of 4",
        "verify",
    }


@pytest.mark.usefixtures("_checkout")
def test_all_averages_are_what_plain_python_says() -> None:
    """The benchmark raises where a value differs."""
    from benchmarks import aggregation

    results = aggregation.measure(evaluators=7, nodes=150, missing_percent=20)
    assert {(one["method"], one["width"]) for one in results} == {
        (method, width)
        for method in ("wmedian", "trimmed", "median", "mean")
        for width in ("u64", "u128")
    }


@pytest.mark.usefixtures("_checkout")
def test_an_epoch_is_sealed_from_the_log_of_real_ingest() -> None:
    from benchmarks import seal

    whole = seal.measure(3_000, 12, memory_mib=2048, hashlib_jobs=0, folder=None)["whole"]
    assert whole["jobs"] == 3_000
    assert {"read log, check its CRC", "to tuples in buckets", "segments"} < set(
        whole["stages_cpu_s"]
    )
