"""The snippet of docs/checking.md, run as it stands there against the shipped file."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from audit.proof_files import ALL_FILES
from meridian.measure.proof_form import encode_binary
from meridian.verifier import Step, check, statement

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_snippet_checks_a_proof_as_python_does(tmp_path: Path) -> None:
    page = (ROOT / "docs/checking.md").read_text()
    (snippet,) = re.findall(r"^```js\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "assets").mkdir()
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for asset in (ROOT / "src/meridian/web/assets/assets").glob("*.js"):
        shutil.copy(asset, tmp_path / "assets")
    file = next(file for file in ALL_FILES.values() if file.kind == "job")
    (tmp_path / "proof").write_bytes(encode_binary(file))
    (tmp_path / "check.mjs").write_text(
        'import { readFileSync } from "node:fs";\nconst bytes = readFileSync("proof");\n'
        f"{snippet}\nconsole.log(JSON.stringify({{ holds, statement, steps: steps.length }}));\n"
    )
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "check.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    steps: list[Step] = check(file)
    assert found["holds"] is True
    assert found["steps"] == len(steps)
    assert statement(file) in json.dumps(found["statement"], ensure_ascii=False)
