"""Which lines of the documents' shell blocks are run, by what, and which are not, and why."""

from fnmatch import fnmatch

from markdown_pages import ROOT, documents, fenced

SHELLS = ("sh", "shell", "bash", "console")

WHOLE_PAGES = {
    "docs/tutorials/own-network.md": "tests/docs/test_own_network_page.py",
    "docs/tutorials/evaluator.md": "tests/docs/test_own_network_page.py",
    "docs/tutorials/dispute.md": "tests/docs/test_own_network_page.py",
    "docs/tutorials/demo.md": "tests/docs/test_library_page.py",
    "docs/tutorials/rewards.md": "tests/docs/test_library_page.py",
    "docs/library.md": "tests/docs/test_library_page.py",
    "docs/submit.md": "tests/docs/test_submit_page.py",
    "docs/chain.md": "tests/docs/test_chain_page.py",
}
"""Pages that a test of their own runs from the first line to the last."""

COMMANDS_RUN = "tests/docs/test_commands_run.py"

RUN_PAGES = (
    "docs/functions.md",
    "docs/fraud-layers.md",
    "README.md",
    "docs/backfill.md",
    "docs/operating.md",
    "docs/explorer.md",
    "docs/backup.md",
    "docs/averages.md",
    "docs/simulator.md",
    "docs/scenarios.md",
    "docs/spark.md",
    "docs/nym.md",
    "docs/ephemera-node.md",
)
"""Pages whose lines test_commands_run.py runs, but for those below."""

NOT_RUN = {
    # (page, line; * stands for anything): why not. A path is the slice that CI has of it.
    ("README.md", "git clone *"): "a placeholder; tests/web/newcomer.py clones",
    ("README.md", "./dev demo "): "minutes; tests/journey/test_result.py runs it small",
    ("README.md", "./dev demo --keep"): "tests/web/kept_demo.py runs it for the browser's tests",
    ("README.md", "./dev test"): "it would run itself; tests/docs/test_front_door.py",
    ("README.md", "./dev meridian ephemera init-local-cluster *"): "the line of the page itself",
    ("README.md", "./dev meridian nym *"): "the same as on docs/nym.md",
    ("README.md", "./dev meridian submit *"): "tests/docs/test_submit_page.py runs the same line",
    ("README.md", "./dev meridian receipt check *"): "tests/docs/test_submit_page.py runs the same",
    ("docs/explorer.md", "./dev demo --keep"): "tests/web/kept_demo.py",
    ("docs/fraud-layers.md", "meridian run *"): "the README's run takes a layer and a function",
    ("docs/functions.md", "meridian run *"): "the README's run takes a layer and a function",
    ("docs/simulator.md", "meridian sim --twins"): "7 minutes; tests/sim/test_twins.py has a slice",
    ("docs/simulator.md", "meridian sim --mutants"): "minutes; tests/sim/test_mutants.py",
    ("docs/scenarios.md", "meridian scenario lying-committee"): "tests/scenario/test_scenarios.py",
    (
        "docs/scenarios.md",
        "meridian watch *",
    ): "a scenario's network; tests/scenario/test_scenarios.py",
    ("docs/spark.md", "meridian demo --network spark"): "tests/journey/test_spark_rounds_paid.py",
    ("docs/spark.md", "meridian run --network spark --jobs *"): (
        "a second whole system; tests/journey/test_spark_rounds_paid.py"
    ),
    ("docs/spark.md", "meridian demo --network spark-chain *"): (
        "a second whole system; tests/evaluate/test_signature_chains.py has the function alone"
    ),
    ("docs/spark.md", "meridian run --network spark-chain *"): (
        "a second whole system; tests/networks/test_sources.py reads its jobs"
    ),
    ("docs/nym.md", "./dev meridian nym standalone *"): "tests/nym/test_runs.py",
    ("docs/nym.md", "./dev meridian nym ephemera --mode race *"): "tests/nym/test_runs.py",
    ("docs/nym.md", "*--chain *"): "tests/nym/test_onchain_run.py",
    ("docs/nym.md", "./dev meridian nym compare *"): "tests/nym/test_compare.py",
    ("docs/ephemera-node.md", "* ephemera blocks *"): (
        "waits for a final block; tests/node/ephemera/test_processes.py"
    ),
    ("docs/ephemera-node.md", "* verify-block *"): (
        "needs that block; tests/node/ephemera/test_processes.py"
    ),
    ("docs/ephemera-node.md", "* verify-evidence *"): (
        "the page says that there is none; tests/node/ephemera/test_processes.py makes one"
    ),
    ("benchmarks/README.md", "python -m benchmarks *"): (
        "minutes on an idle machine; tests/docs/test_doc_programmes.py asks each for help"
    ),
    ("docs/capacity.md", "python -m benchmarks *"): "tests/docs/test_capacity_page.py calls both",
    ("docs/chaos.md", "python -m tests.chaos *"): "a quarter of an hour; tests/chaos has a slice",
    ("docs/chaos.md", "apt-get *"): "changes the machine",
    ("docs/fuzzing.md", "python -m tests.fuzz *"): "minutes; tests/fuzz has a slice",
    ("docs/contract-testing.md", "*"): "installs foreign programmes; tests/forge, tests/halmos",
    ("docs/configuration.md", "meridian init evaluator *"): "tests/docs/test_own_network_page.py",
    ("docs/models.md", "meridian models *"): (
        "minutes; tests/journey/test_model_comparison.py, tests/journey/test_models_agree.py"
    ),
    ("docs/models.md", "meridian run --model *"): "tests/journey/test_models_agree.py",
    ("docs/models.md", "meridian verify *"): "tests/journey/test_models_agree.py",
    ("docs/deploying.md", "docker compose *"): "needs Docker; tests/docs/test_deploy_files.py",
    ("docs/deploying.md", "meridian seal *"): "runs for ever; tests/docs/test_own_network_page.py",
    ("docs/stores.md", "meridian *"): "a whole run; tests/journey/test_offchain_model.py",
    ("docs/scale-out.md", "pip install *"): "changes the machine",
    ("docs/scale-out.md", "meridian *"): "several machines; tests/scale/test_dask_workers.py",
    ("docs/scale-out.md", "python -m tests.servers *"): "minutes; tests/servers/test_servers.py",
    ("docs/scale-out.md", "python -m benchmarks *"): (
        "minutes; tests/docs/test_doc_programmes.py asks for help"
    ),
    ("docs/spec/09-publication-and-proofs.md", "meridian proof *"): (
        "placeholders; tests/cli/test_audit_commands.py"
    ),
}


def lines_of(page: str) -> list[str]:
    """The command lines of a page's shell blocks, in order; in a block that shows `$ `, the rest is output."""
    found = []
    for block in fenced((ROOT / page).read_text(), *SHELLS):
        lines = block.replace("\\\n", " ").splitlines()
        shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += shown or [line for line in lines if line.strip() and not line.startswith("#")]
    return found


def why_not(page: str, line: str) -> str | None:
    """Why a line is not run."""
    plain = line.partition("   #")[0].strip()
    for (where, pattern), reason in NOT_RUN.items():
        if where == page and fnmatch(plain, pattern.strip()):
            return reason
    return None


def to_run(page: str) -> list[str]:
    """The lines of a page that test_commands_run.py runs."""
    return [line for line in lines_of(page) if why_not(page, line) is None]


def pages() -> list[str]:
    """The documents that have command lines."""
    names = [str(path.relative_to(ROOT)) for path in documents()]
    return [name for name in names if lines_of(name)]
