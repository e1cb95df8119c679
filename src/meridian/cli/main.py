"""The `meridian` command."""

import importlib
import os
import sys
from typing import Any, Final

import click

from meridian import __version__
from meridian.errors import MeridianError, StorageFailure
from meridian.node.process import bound_recursion

INTERRUPTED: Final = 130

EPILOG: Final = """\b
Start here:
  meridian demo                                             the whole system once, on generated jobs
  meridian run --network saturn --jobs LOG --data-dir DIR   the same on your own logs
  meridian web DIR                                         the explorer of what ran there
  meridian init sponsor --network-dir DIR                   a network of your own: its files, with comments
  meridian submit FILE --data-dir DIR --token-file FILE     send job records, keep checked receipts
  meridian verify --data-dir DIR --epoch N                  check an epoch from public artefacts alone
  meridian node show --data-dir DIR --epoch N --node ID
  meridian ephemera init-local-cluster -n 4 --dir DIR       four nodes of the broadcast alone

\b
Exit codes:
  0 done                       4 another process cannot be reached
  1 a check failed             5 our own storage failed
  2 bad input or option        6 overloaded, try again later
  3 not found                  7 a contract refused
  130 interrupted (run the same command again to resume)
"""


COMMANDS: Final = {
    "demo": "run_commands.demo",
    "run": "run_commands.run",
    "init": "init_commands.init",
    "verify": "audit_commands.verify",
    "watch": "watch_commands.watch",
    "status": "status_commands.status",
    "top": "status_commands.top",
    "web": "web_commands.web",
    "complaint": "complaint_commands.complaint",
    "submit": "submit_commands.submit",
    "receipt": "receipt_commands.receipt",
    "seal": "seal_command.seal",
    "publish": "publish_command.publish",
    "witness": "witness_commands.witness",
    "scenario": "scenario_commands.scenario",
    "models": "models_commands.models",
    "node": "audit_commands.node",
    "proof": "proof_commands.proof",
    "chain": "chain_commands.chain",
    "reward": "chain_money_commands.reward",
    "nym": "nym_commands.nym",
    "spark": "spark_commands.spark",
    "ephemera": "ephemera_commands.ephemera",
    "fsck": "fsck_commands.fsck",
    "backup": "backup_commands.backup",
    "serve": "serve_commands.serve",
    "scale": "scale_commands.scale",
    "scheduler": "scale_commands.scheduler",
    "worker": "scale_commands.worker",
    "sim": "sim_commands.sim",
    "evaluate": "evaluate_command.evaluate",
    "function": "function_commands.function",
    "layer": "layer_commands.layer",
    "aggregate": "average_commands.aggregate",
    "attack-sim": "average_commands.attack_sim",
}
"""Where each command is. Its module is imported when it is asked for: all together take three times as long as one."""


KERNEL_VARIABLE: Final = "MERIDIAN_SHA256"
"""Forces the kernel of bulk hashing: ``hashlib``, or one of `hashing.KERNELS`."""


class Group(click.Group):
    """Loads a command when it is asked for, and turns our errors into one line on standard error and their exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102 - click's
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102 - click's
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module, name = COMMANDS[cmd_name].split(".")
            self.add_command(getattr(importlib.import_module(f"meridian.cli.{module}"), name))
        return super().get_command(ctx, cmd_name)

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - click's
        kwargs["standalone_mode"] = False
        bound_recursion()
        try:
            if kernel := os.environ.get(KERNEL_VARIABLE):
                importlib.import_module("meridian.primitives.hashing").force(kernel)
            code = super().main(*args, **kwargs)
        except click.exceptions.Exit as ended:
            sys.exit(ended.exit_code)
        except click.Abort:
            click.echo("interrupted; run the same command again to resume", err=True)
            sys.exit(INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except MeridianError as error:
            click.echo(f"meridian: {error}", err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            if error.filename is None:  # not about a file: nothing that we foresaw
                raise
            click.echo(f"meridian: {error.filename}: {error.strerror}", err=True)
            sys.exit(StorageFailure.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted; run the same command again to resume", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Group, epilog=EPILOG, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="meridian")
def main() -> None:
    """Pay the nodes of an off-chain network for work that anyone can check.

    Meridian measures jobs (ingest, receipts, one commitment on chain per epoch), evaluates them (independent evaluators
    who agree on one matrix over Ephemera, a Byzantine broadcast) and rewards their nodes (claims at any time), and lets
    anyone verify all of it from public artefacts.
    """


if __name__ == "__main__":
    main()
