"""Image, compose file and systemd unit agree with each other and with the code. Nothing is built: that needs an engine."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import PurePosixPath

import pytest
import yaml
from markdown_pages import ROOT
from test_doc_commands import walk

from meridian.errors import InvalidInput, NotFound
from meridian.node.ephemera.api_routes import ROUTES
from meridian.node.ephemera.config import CONFIG_FILE, NodeConfig

PACKAGING = ROOT / "packaging"
HOME = PurePosixPath("/var/lib/meridian-ephemera")
DEFAULTS = NodeConfig()


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of every line."""
    text = (PACKAGING / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def only(name: str) -> str:
    (found,) = [arguments for instruction, arguments in dockerfile() if instruction == name]
    return found


def command_of(entrypoint: list[str], command: list[str]) -> list[str]:
    """The words behind `meridian`, which must be that of the image."""
    words = entrypoint + command
    assert words[0] == "/opt/meridian/bin/meridian"
    return words[1:]


def test_the_image_starts_a_node_as_nobody_special():
    words = command_of(json.loads(only("ENTRYPOINT")), json.loads(only("CMD")))
    walk(words, whole=True)
    assert words[-1] == str(HOME / CONFIG_FILE)
    assert only("VOLUME") == only("USER").replace("ephemera", str(HOME))
    assert only("EXPOSE").split() == [str(DEFAULTS.links.port), str(DEFAULTS.api.port)]
    assert only("STOPSIGNAL") == "SIGTERM"


def test_the_health_check_asks_a_path_that_there_is():
    check = only("HEALTHCHECK")
    port, path = re.search(r"http://127\.0\.0\.1:(\d+)(/[a-z/]+)", check).groups()
    assert int(port) == DEFAULTS.api.port
    assert path in {route.path for route in ROUTES}
    program = json.loads(check[check.index("[") :])
    compile(program[2], "health check", "exec")


def test_what_the_image_copies_is_there():
    for instruction, arguments in dockerfile():
        if instruction == "COPY" and not arguments.startswith("--from"):
            for name in arguments.split()[:-1]:
                assert (ROOT / name).exists(), name


def test_compose_makes_four_nodes_and_runs_them():
    compose = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
    services = compose["services"]
    nodes = {name: service for name, service in services.items() if name != "init"}
    init = shlex.split(services["init"]["command"][0].split("||")[1])
    walk(command_of([], init), whole=True)
    options = dict(zip(init[3::2], init[4::2], strict=True))
    assert int(options["--nodes"]) == len(nodes) == 4
    assert options["--dir"] == str(HOME)
    assert sorted(nodes) == [options["--host-pattern"].format(i + 1) for i in range(4)]
    ports = set()
    for name, service in nodes.items():
        words = command_of(json.loads(only("ENTRYPOINT")), service["command"])
        walk(words, whole=True)
        assert words[-1] == str(HOME / name / CONFIG_FILE)
        assert service["volumes"] == [f"cluster:{HOME}"]
        assert service["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
        assert (ROOT / "packaging" / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        (published,) = service["ports"]
        address, host_port, port = published.split(":")
        assert (address, port) == ("127.0.0.1", options["--api-port"])
        ports.add(host_port)
    assert len(ports) == 4
    assert set(compose["volumes"]) == {"cluster"}


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PACKAGING / "meridian-ephemera.service")
    return parser["Service"]


def test_the_unit_runs_a_node_in_its_own_directory():
    service = unit()
    words = command_of([], shlex.split(service["ExecStart"]))
    walk(words, whole=True)
    assert PurePosixPath(words[-1]) == HOME / CONFIG_FILE
    assert PurePosixPath("/var/lib") / service["StateDirectory"] == HOME
    codes = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert codes == {InvalidInput.exit_code, NotFound.exit_code}
    for key in (
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "LockPersonality",
    ):
        assert service[key] == "yes"
    assert service["ProtectSystem"] == "strict"


def test_systemd_reads_the_unit_and_finds_it_hardened(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "meridian-ephemera.service"
    path.write_text((PACKAGING / "meridian-ephemera.service").read_text())
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
