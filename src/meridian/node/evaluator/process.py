"""The evaluator as a process: its configuration, what it tells its operator, and its end.

Started as ``python -m meridian.node.evaluator.process --config FILE``.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from meridian.errors import MeridianError
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.observed import NOT_BEGUN, observe
from meridian.node.evaluator.service import EvaluatorService
from meridian.node.network_file import NetworkFile
from meridian.node.observe.observation import Observation
from meridian.node.observe.point import ObservePoint
from meridian.node.process import bound_recursion, serve_until_stopped, start_logging

LOOK_S: Final = 5.0
"""How long a look may take before it is given up: the loop is busy then."""


async def _serve(config: EvaluatorConfig) -> None:
    service, loop = EvaluatorService(config), asyncio.get_running_loop()

    async def look() -> Observation:
        return observe(service.seen()) if service.has_begun else NOT_BEGUN

    def look_from_thread() -> Observation:
        return asyncio.run_coroutine_threadsafe(look(), loop).result(LOOK_S)

    name = f"evaluator-{config.listen_port}"
    point = ObservePoint(
        name, config.data_dir, look_from_thread, config.observe_host, config.observe_port
    )
    point.start()
    try:
        await service.run()
    finally:
        await asyncio.to_thread(point.stop)  # it may be waiting for this loop
        with contextlib.suppress(MeridianError):
            await service.close()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, exists=True), required=True)
def command(path: Path) -> None:
    """Run an evaluator from its configuration file."""
    bound_recursion()
    config = EvaluatorConfig.load(path)
    network = NetworkFile.load(config.network_dir)
    start_logging(f"evaluator-{config.listen_port}", network_id=network.network_id)
    raise SystemExit(serve_until_stopped(lambda: _serve(config)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the process and return its exit code."""
    try:
        command.main(args=arguments, standalone_mode=False)
    except SystemExit as ended:
        return int(ended.code or 0)
    except MeridianError as error:
        click.echo(f"evaluator: {error}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
