"""`python -m tests.fuzz.api_fuzz`: schemathesis reads the service's own OpenAPI document and sends what it allows, and more.

Nothing may crash, no answer may be a 500, and every answer has a documented status, type and form.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.node.measure.measure_world import CALENDAR, Process, lines, make_config, record

from meridian.node.keystore import load_or_create_secret

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
"""All but those of single values and of tokens: a batch whose records are refused one by one is answered with 200 and the
reasons, and a request that is malformed and has no token may hear either."""


def fuzz(root: Path, examples: int, seed: int) -> tuple[int, str]:
    """Run schemathesis against a service that has an open, a sealed and a committed epoch.

    Returns:
        Its exit code and what it printed; the service must have stayed alive and end cleanly.
    """
    # Limits are off: a 429 would hide what stands behind it.
    process = Process(root, make_config(root))
    try:
        client = process.client()
        client.set_clock(CALENDAR.end_us(7))
        for second in (60, 3700, 7300):
            client.submit(lines(record(at, second=second) for at in range(second, second + 30)))
        client.put_input(6, "health", b"checks")
        client.seal(5)
        client.wait_committed(5)
        client.close()
        token = load_or_create_secret(process.config.admin_token_file).hex()
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "run"),
                process.url + "/v1/openapi.json",
                *("--header", f"Authorization: Bearer {token}"),
                *("--checks", ",".join(CHECKS), "--max-examples", str(examples)),
                *("--seed", str(seed), "--generation-database", "none", "--no-color"),
                *("--request-timeout", "20", "--continue-on-failure", "--warnings", "off"),
                *("--suppress-health-check", "all"),
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=root,
        )
        alive = process.client().epochs()["open_epoch"] >= 6
    finally:
        code = process.stop()
    output = done.stdout + done.stderr
    if code or not alive:
        return 1, f"{output}\nthe service ended with {code}"
    return done.returncode, output


def main() -> int:
    """Fuzz as long as asked; prints what schemathesis says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.api_fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="api-fuzz-") as folder:
        code, output = fuzz(Path(folder) / "service", arguments.examples, arguments.seed)
    print(output)
    return code


if __name__ == "__main__":
    sys.exit(main())
