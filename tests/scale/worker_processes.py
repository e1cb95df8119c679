"""A scheduler and workers as real processes on loopback, with certificates of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from meridian.cli.main import main
from meridian.node.workers.config import SchedulerConfig, WorkerConfig
from meridian.scale.settings import EngineKind, EngineSettings

ROOT = Path(__file__).resolve().parents[2]


def write_certificates(directory: Path) -> Path:
    made = CliRunner().invoke(main, ["scale", "keys", "--dir", str(directory), "--days", "1"])
    assert made.exit_code == 0, made.output
    return directory


@dataclass
class Workers:
    """The processes."""

    directory: Path
    certificates: Path
    address: str = ""
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self, name: str, command: str, config: SchedulerConfig | WorkerConfig) -> str:
        """Start one; return its address."""
        path = self.directory / f"{name}.toml"
        config.save(path)
        with (self.directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "meridian.cli.main", command, "--config", str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Tasks of tests are named by their modules.
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            )
        self.processes[name] = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.directory / f"{name}.log").read_text()
        return json.loads(line)["address"]

    def start_worker(self, name: str) -> str:
        config = WorkerConfig(
            scheduler=self.address,
            certificates_dir=self.certificates,
            work_dir=self.directory / name,
        )
        return self.start(name, "worker", config)

    def settings(self, certificates: Path | None = None) -> EngineSettings:
        return EngineSettings(
            kind=EngineKind.DASK,
            scheduler=self.address,
            certificates_dir=certificates or self.certificates,
        )


@contextmanager
def running_workers(directory: Path, count: int) -> Iterator[Workers]:
    """Run a scheduler and so many workers."""
    world = Workers(directory, write_certificates(directory / "certificates"))
    try:
        scheduler = SchedulerConfig(certificates_dir=world.certificates, listen_port=0)
        world.address = world.start("scheduler", "scheduler", scheduler)
        for number in range(count):
            world.start_worker(f"worker-{number}")
        yield world
    finally:
        for process in reversed(world.processes.values()):
            process.terminate()
        for process in world.processes.values():
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()
