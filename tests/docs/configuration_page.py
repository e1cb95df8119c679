"""docs/configuration.md, key by key from the declarations: `python tests/docs/configuration_page.py --write` renews it."""

import sys
from pathlib import Path

from meridian.networks.sponsor_file import SponsorConfig
from meridian.node.config_file import toml_value
from meridian.node.config_keys import MISSING, Key, keys_of, title_of
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.measure.config import MeasureConfig
from meridian.node.operator_config import OperatorConfig
from meridian.node.witness.config import WitnessConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration, key by key

Each server and each role has one TOML file with a comment on every key. `meridian init` writes it (`meridian witness init`
that of a witness), from flags or from what it asks on a terminal; it replaces nothing without `--overwrite`, and keys never.

```sh
meridian init evaluator --network-dir net --port 7400
```

Relative paths start where the file is. Secrets never stand in a configuration, only the paths of their files. A key that
nobody knows is refused with the nearest one that is known, and a value that does not fit with its line:

```text
meridian: net/evaluator/evaluator.toml: line 20: unknown key listen_prot; did you mean listen_port?
meridian: net/evaluator/evaluator.toml: line 20: listen_port = '7400': expected `int`, got `str`
```

This page is made from the declarations in the code, and a test compares it. The broadcast node's file is in
[Running an Ephemera node](ephemera-node.md), the jobs of an evaluation function in [Functions](functions.md).
"""

ROLES = {
    "Sponsor": ("sponsor.toml", SponsorConfig, ("`meridian init sponsor` writes it; `meridian chain deploy --config` and"
                " `meridian chain fund --config` read it.")),
    "Aggregator": ("aggregator.toml", MeasureConfig, ("`meridian init aggregator` writes it; `meridian serve measure --config`"
                   " reads it. In a run of `meridian demo` it is `measure/config.toml`.")),
    "Evaluator": ("evaluator.toml", EvaluatorConfig, ("`meridian init evaluator` writes it; `meridian serve evaluator --config`"
                  " reads it. In a run of `meridian demo` it is `evaluators/N/config.toml`.")),
    "Node": ("node.toml", OperatorConfig, ("`meridian init node` writes it; `meridian submit FILE --config` and"
             " `meridian watch --config` read it: what stands on the command line counts.")),
    "Witness": ("witness.toml", WitnessConfig, "`meridian witness init` writes it; `meridian witness run` reads it."),
}  # fmt: skip


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for role, (name, kind, how) in ROLES.items():
        parts.append(f"## {role}: {name}\n\n{title_of(kind)} {how}\n")
        parts += tables("", kind)
    return "\n".join(parts)


def tables(place: str, kind: type) -> list[str]:
    """The table of a declaration's keys, then those of its tables."""
    plain = [key for key in keys_of(kind) if key.table is None]
    lines = ["| key | type | default | what it is for |", "|---|---|---|---|"]
    lines += [
        f"| `{key.name}` | {key.kind} | {default(key)} | {key.description.replace('|', chr(92) + '|')} |"
        for key in plain
    ]
    found = ["\n".join(lines) + "\n"]
    for key in keys_of(kind):
        if key.table is not None:
            inner = f"{place}.{key.name}".removeprefix(".")
            brackets = f"[[{inner}]]" if key.many else f"[{inner}]"
            found.append(f"**`{brackets}`** {key.description}{optional(key)}\n")
            found += tables(inner, key.table)
    return found


def optional(key: Key) -> str:
    """Whether the table may be left out, where that is not so plain."""
    return " It must be there." if key.default is MISSING else ""


def default(key: Key) -> str:
    """A default as people read it."""
    if key.default is MISSING:
        return "**needed**"
    return "" if key.default is None else f"`{toml_value(key.default)}`"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    sys.exit(PAGE.read_text() != page())
