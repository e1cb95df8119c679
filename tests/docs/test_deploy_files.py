"""`deploy/`: image, compose file, founding script and systemd units agree with each other and with the code.

Nothing is started here: `test_deployed_network` does. Nothing is built: that needs an engine.
"""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from markdown_pages import ROOT
from test_doc_commands import walk

DEPLOY = ROOT / "deploy"
HOME = PurePosixPath("/var/lib/meridian")
PROGRAM = "/opt/meridian/bin/meridian"
FOUNDING = "/opt/meridian/bin/found-network"
UNITS = sorted(path.name for path in (DEPLOY / "systemd").glob("*.service"))
SCRIPT = (DEPLOY / "found.sh").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROCESSES = ("chain", "measure", "evaluator-1", "evaluator-2", "evaluator-3")


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of every line."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def only(name: str) -> str:
    (found,) = [arguments for instruction, arguments in dockerfile() if instruction == name]
    return found


def words_in_shell(text: str) -> list[list[str]]:
    """The commands of ours in a shell text, their variables as placeholders."""
    text = re.sub(r"\$\$\(cat [^)]*\)", "", text)  # more options, of a file
    plain = re.sub(r"\$\(\([^)]*\)\)|\$\{?\w+\}?", "N", text.replace("\\\n", " "))
    found = re.findall(r"^\s*(?:\w+=N?\$?\(|exec )?meridian ([^|;)\n]*)", plain, re.MULTILINE)
    return [shlex.split(line) for line in found]


# -- image ------------------------------------------------------------------------------------------


def test_the_image_has_what_it_copies_and_runs_as_nobody_special():
    for instruction, arguments in dockerfile():
        if instruction == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            assert all((ROOT / name).exists() for name in sources), arguments
            if target == FOUNDING:
                assert (ROOT / sources[0]).stat().st_mode & 0o111
    assert json.loads(only("ENTRYPOINT")) == [PROGRAM]
    assert only("USER") == "meridian"
    assert only("VOLUME") == str(HOME)
    assert FOUNDING in (DEPLOY / "Dockerfile").read_text()


# -- founding ---------------------------------------------------------------------------------------


def test_the_founding_script_is_shell_and_its_commands_exist():
    subprocess.run(["sh", "-n", str(DEPLOY / "found.sh")], check=True)
    lines = words_in_shell(SCRIPT)
    assert {tuple(words[:2]) for words in lines} == {
        ("init", "aggregator"), ("init", "sponsor"), ("init", "evaluator"), ("init", "node"),
        ("chain", "deploy"), ("chain", "fund"),
    }  # fmt: skip
    for words in lines:
        walk(words, whole="--config" not in words)


# -- compose ----------------------------------------------------------------------------------------


def command_of(service: dict[str, Any]) -> list[list[str]]:
    """Commands of ours that a service runs."""
    entry = service.get("entrypoint")
    if entry is None:
        return [service["command"]]
    if entry[0] == FOUNDING:
        assert re.search(rf"^{entry[1]}\(\) \{{$", SCRIPT, re.MULTILINE), entry
        return []
    assert entry == ["/bin/sh", "-c"]
    return words_in_shell(
        service["command"][0].replace("do meridian", "do\nmeridian").replace(" || :", "")
    )


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_runs_a_command_that_there_is(name):
    service = SERVICES[name]
    commands = command_of(service)
    assert commands or service["entrypoint"][0] == FOUNDING
    for words in commands:
        walk(words, whole="--config" not in words)
    assert service["volumes"] == [f"network:{HOME}"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    if "healthcheck" in service:
        program = service["healthcheck"]["test"]
        compile(program[3], name, "exec")


def test_five_processes_start_after_the_network_is_founded():
    assert set(PROCESSES) <= set(SERVICES)
    numbers = re.search(r'^evaluators="([0-9 ]+)"$', SCRIPT, re.MULTILINE)
    assert numbers is not None
    assert [f"evaluator-{n}" for n in numbers[1].split()] == list(PROCESSES[2:])
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            once = SERVICES[other]["restart"] == "no"
            assert how == {
                "condition": "service_completed_successfully" if once else "service_healthy"
            }
            assert once or "healthcheck" in SERVICES[other]
        if name not in {"keys", "chain"}:
            assert service["network_mode"] == "service:chain"
    order, left = [], dict(SERVICES)
    while left:
        free = [n for n in left if set(left[n].get("depends_on", {})) <= set(order)]
        assert free, f"a circle among {sorted(left)}"
        order += [n for n in free if left.pop(n)]
    assert order[:3] == ["keys", "chain", "found"]
    assert set(COMPOSE["volumes"]) == {"network"}


def test_ports_and_files_are_those_of_the_founding_script():
    defaults = dict(re.findall(r"^(\w+)=\$\{\w+:-([^}]*)\}$", SCRIPT, re.MULTILINE))
    assert defaults["net"] == str(HOME)
    chain = SERVICES["chain"]
    assert f"--port {defaults['rpc_url'].rsplit(':', 1)[1]} " in chain["command"][0]
    published = [port.rsplit(":", 1)[1] for port in chain["ports"]]
    assert published == [defaults["measure_port"], SERVICES["explorer"]["command"][-1]]
    assert all(port.startswith("127.0.0.1:") for port in chain["ports"])
    assert f":{defaults['measure_port']}/healthz" in SERVICES["measure"]["healthcheck"]["test"][3]
    for name in PROCESSES[1:]:
        role = "aggregator" if name == "measure" else name
        path = HOME / role / f"{role.split('-')[0]}.toml"
        assert SERVICES[name]["command"][-1] == str(path)


# -- systemd ----------------------------------------------------------------------------------------


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / name)
    return parser


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_a_command_in_its_own_directory(name):
    service = unit(name)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    walk(words, whole="--config" not in words)
    assert PurePosixPath("/var/lib") / service["StateDirectory"] == HOME
    assert service["User"] == "meridian"
    assert service["ProtectSystem"] == "strict"
    assert "MemoryDenyWriteExecute" not in service  # kernels are compiled while it runs
    if service["Type"] == "exec":
        assert service["Restart"] == "on-failure"


def test_there_is_a_unit_for_every_role():
    assert [name.removeprefix("meridian-").removesuffix(".service") for name in UNITS] == [
        "evaluator", "measure", "open", "seal", "watch", "web", "witness",
    ]  # fmt: skip
    assert (DEPLOY / "systemd/meridian-open.timer").is_file()


def test_systemd_reads_the_units_and_finds_them_hardened(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    paths = []
    for path in sorted((DEPLOY / "systemd").iterdir()):
        paths.append(tmp_path / path.name)
        paths[-1].write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    services = [str(path) for path in paths if path.suffix == ".service"]
    for command in (
        [analyze, "verify", "--man=no", *map(str, paths)],
        [analyze, "security", "--offline=true", "--threshold=20", *services],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout[-300:] + done.stderr
