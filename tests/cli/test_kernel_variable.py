"""MERIDIAN_SHA256 chooses the kernel of bulk hashing."""

import pytest

from meridian.cli.main import KERNEL_VARIABLE, main
from meridian.errors import InvalidInput
from meridian.primitives import hashing


@pytest.fixture(autouse=True)
def _leave_the_kernels_as_they_were():
    before = (hashing._state.forced, hashing._state.bulk, hashing._state.is_settled)
    yield
    hashing._state.forced, hashing._state.bulk, hashing._state.is_settled = before


def test_the_variable_is_obeyed(monkeypatch):
    monkeypatch.setenv(KERNEL_VARIABLE, "lanes-4")
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert hashing.prepare() == "lanes-4"


def test_an_unknown_name_is_an_error_of_input(monkeypatch, capsys):
    monkeypatch.setenv(KERNEL_VARIABLE, "fast")
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == InvalidInput.exit_code
    assert "fast" in capsys.readouterr().err
