"""A slice of `python -m tests.fuzz.api_fuzz`."""

from pathlib import Path

from tests.fuzz.api_fuzz import fuzz


def test_no_request_that_the_description_allows_breaks_the_service(tmp_path: Path) -> None:
    code, output = fuzz(tmp_path / "service", examples=8, seed=1)
    assert code == 0, output
    assert "No issues found" in output, output
