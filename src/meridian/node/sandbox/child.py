"""What runs in the sandbox: one request from standard input, one answer on standard output.

Started as a script of its own, so it imports nothing of the package but the file beside it. Everything that the function
may import is imported before the lockdown; afterwards no file can be opened.
"""

import builtins
import importlib
import json
import sys
from typing import Any, Final

NAME: Final = "function"


def main() -> None:
    """Read, lock down, run, answer."""
    request = json.loads(sys.stdin.buffer.read())
    modules = {name: importlib.import_module(name) for name in request["imports"]}
    allowed = {name: getattr(builtins, name) for name in request["builtins"]}

    def from_import(name: str, *_: Any) -> Any:
        return modules[name]

    allowed["__import__"] = from_import
    lockdown = importlib.import_module("lockdown")  # the folder of this script is on its path
    sys.stdin.close()
    lockdown.limit(request["memory_bytes"], request["cpu_seconds"])
    lockdown.close_all_calls()
    try:
        names: dict[str, Any] = {"__builtins__": allowed, "__name__": "function"}
        exec(compile(request["source"], NAME, "exec"), names)  # noqa: S102 - what this process is for
        weights, verdicts = names["evaluate"](*request["arguments"])
        answer = {"answer": {"weights": list(weights), "verdicts": list(verdicts)}}
        text = json.dumps(answer)
    except BaseException as error:  # noqa: BLE001 - whatever the function raises is its answer
        text = json.dumps(
            {"line": _line_of(error), "error": f"{type(error).__name__}: {error}"[:500]}
        )
    sys.stdout.write(text)
    sys.stdout.flush()


def _line_of(error: BaseException) -> int:
    """Return the function's last line on the way to an error; by hand, for no source file can be opened any more."""
    line, step = 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == NAME:
            line = step.tb_lineno
        step = step.tb_next
    return line


if __name__ == "__main__":
    main()
