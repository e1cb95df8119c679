"""The `meridian` command."""

import sys
from typing import Any, Final

import click

from meridian import __version__
from meridian.cli.audit_commands import node, proof, verify
from meridian.cli.average_commands import aggregate, attack_sim
from meridian.cli.chain_commands import chain
from meridian.cli.chain_money_commands import reward
from meridian.cli.ephemera_commands import ephemera
from meridian.cli.nym_commands import nym
from meridian.cli.run_commands import demo, run
from meridian.cli.scenario_commands import scenario
from meridian.cli.serve_commands import serve
from meridian.cli.sim_commands import sim
from meridian.cli.spark_commands import spark
from meridian.cli.watch_commands import watch
from meridian.errors import MeridianError, StorageFailure
from meridian.node.process import bound_recursion

INTERRUPTED: Final = 130

EPILOG: Final = """\b
Start here:
  meridian demo                                             the whole system once, on generated jobs
  meridian run --network saturn --jobs LOG --data-dir DIR   the same on your own logs
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


class Group(click.Group):
    """Turns our errors into one line on standard error and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - click's
        kwargs["standalone_mode"] = False
        bound_recursion()
        try:
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


for command in (
    demo, run, verify, watch, scenario, node, proof, chain, reward, nym, spark, ephemera, serve, sim,
    aggregate, attack_sim,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()
