"""Pages of the documentation site that are made from the code when it is built, and links that leave it.

`mkdocs build --strict` calls the functions here by their names (hooks of MkDocs).
"""

import inspect
import re
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import meridian
from meridian.cli.main import main
from meridian.node.ephemera.openapi import openapi
from meridian.node.measure.openapi import document

LEAVING = re.compile(
    r"\[([^\]\n]+)\]\((?:\.\./)+((?:src|tests|benchmarks|contracts|deploy|packaging|README|CHANGELOG|LICENSE)[^)\s]*)\)"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in (("commands", commands()), ("http", http()), ("python", python())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name the files of the repository that a page links to: the site does not have them."""
    del page, config, files
    return LEAVING.sub(lambda found: f"{found[1]} (`{found[2]}`)", markdown)


# ------------------------------------------------------------------------------------- the commands


def commands() -> str:
    """Every command with its options, from the commands themselves."""
    parts = ["# Commands\n\nMade from the commands themselves: what `--help` says.\n"]
    parts += _below(main, click.Context(main, info_name="meridian"))
    return "\n".join(parts)


def _below(command: click.Command, context: click.Context) -> list[str]:
    level = "#" * min(context.command_path.count(" ") + 2, 5)
    help_text = inspect.cleandoc(command.help or "").replace("\b\n", "").replace("\f", "")
    parts = [f"{level} {context.command_path}\n\n{_plain(help_text)}\n"]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    arguments = [
        one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)
    ]
    if not isinstance(command, click.Group):
        parts.append(
            "```text\n" + " ".join([context.command_path, "[OPTIONS]", *arguments]) + "\n```\n"
        )
    if options:
        rows = ["| option | what it does |", "|---|---|", *(_row(one, context) for one in options)]
        parts.append("\n".join(rows) + "\n")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                parts += _below(inner, click.Context(inner, parent=context, info_name=name))
    return parts


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    names, says = record if record is not None else (", ".join(option.opts), "")
    return f"| `{names.replace('|', chr(92) + '|')}` | {_plain(says).replace('|', chr(92) + '|')} |"


def _plain(text: str) -> str:
    """Words of a help text that Markdown or HTML would swallow."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


# --------------------------------------------------------------------------------- the HTTP interfaces


def http() -> str:
    """Every route of the measure service and of the broadcast node, from their OpenAPI documents; links for the rest."""
    return f"""# HTTP

Made from what the servers say about themselves: `GET /v1/openapi.json` of a measure service and `GET /ephemera/openapi.json` of a
broadcast node are the same as OpenAPI 3.1, with the forms of bodies. Where **bearer** stands a token is
needed; where **signature** stands too, the signature of a node's operator does instead.

| server | where it is described |
|---|---|
| measure service | [below](#measure-service); bodies, receipts and signed batches in [receipts and ingest](../spec/04-receipts-and-ingest.md), how to send in [submitting](../submit.md) |
| its proofs | [the proof interface](../spec/09-publication-and-proofs.md#the-proof-interface) |
| its epoch log | [publish and witness the log](../epoch-log.md) |
| broadcast node | [below](#broadcast-node); with examples in [running an Ephemera node](../ephemera-node.md) |
| explorer | [as a server](../explorer.md#as-a-server) and [complaints](../spec/09-publication-and-proofs.md#complaints); its files in [columns](../spec/13-columns.md) |
| every process | `/healthz`, `/readyz`, `/metrics`, `/state`: [operating](../operating.md#is-all-well), [metrics](../metrics.md) |
| any EVM chain | JSON-RPC of the chain; the contracts in [contracts](../spec/08-contracts.md) |

## Measure service

Errors are objects with the field and the reason.

{_routes(document())}

## Broadcast node

{_routes(openapi())}
"""


def _routes(description: dict[str, Any]) -> str:
    rows = ["| method and path | what | takes | answers |", "|---|---|---|---|"]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            rows.append(_operation(method, path, operation))
    return "\n".join(rows)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    summary = operation["summary"]
    takes = [f"`{one['name']}` ({one['in']})" for one in operation.get("parameters", [])]
    takes += list(operation.get("requestBody", {}).get("content", {}))
    takes += [f"**{name}**" for lock in operation.get("security", []) for name in lock]
    answers = [
        f"{status}: {one['description']}"
        for status, one in sorted(operation["responses"].items())
        if one["description"] != summary
    ]
    cells = [f"`{method.upper()} {path}`", summary, ", ".join(takes), "<br>".join(answers)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# --------------------------------------------------------------------------------------- the library


def python() -> str:
    """Every public name with its signature and docstring."""
    parts = ["# Python\n\nThe names of `import meridian`; [a page of examples](../library.md).\n"]
    for name in meridian.__all__:
        found: Any = getattr(meridian, name)
        if inspect.isfunction(found):
            parts.append(_function(found, name, "##"))
        elif inspect.isclass(found):
            parts.append(f"## {name}\n\n{_docstring(found)}\n")
            for key, one in vars(found).items():
                if key.startswith("_"):
                    continue
                if inspect.isfunction(one):
                    parts.append(_function(one, f"{name}.{key}", "###"))
                elif isinstance(one, property):
                    parts.append(f"### {name}.{key}\n\n{_docstring(one)}\n")
    return "\n".join(parts)


def _function(found: Any, name: str, level: str) -> str:
    signature = str(inspect.signature(found)).replace("'", "")
    return f"{level} {name}\n\n```python\n{name}{signature}\n```\n\n{_docstring(found)}\n"


def _docstring(found: Any) -> str:
    """A docstring in Google's form, with its sections as lists."""
    lines = []
    section = False
    for line in inspect.cleandoc(found.__doc__ or "").splitlines():
        if line in {"Args:", "Returns:", "Raises:"}:
            lines += [f"**{line[:-1]}**", ""]
            section = line != "Returns:"
        elif section and re.match(r"    \w+: ", line):
            key, _, says = line.strip().partition(": ")
            lines.append(f"- `{key}`: {says}")
        else:
            lines.append(line if not line.startswith("    ") else line.strip())
    return "\n".join(lines)
