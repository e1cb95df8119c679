"""What a model's directory says about itself, and whom it refuses."""

import msgspec
import pytest
from click.testing import CliRunner

from meridian.cli.main import main
from meridian.errors import InvalidInput, NotFound
from meridian.journey.models import data_dir, registry
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.frauds import FRAUDS, check_fraud
from meridian.journey.models.model import ModelOptions
from meridian.journey.options import DEFAULT_BUDGET_ATTO
from meridian.networks.generator import Traffic, generate
from meridian.primitives.ids import Address

SOURCE = generate(Traffic(jobs=10, nodes=2, epochs=2))


def test_a_directory_keeps_its_model_network_and_contracts(tmp_path):
    file = data_dir.begin(tmp_path, ModelFile.of("naive", SOURCE))
    assert not file.contracts
    known = ModelFile.of(
        "naive", SOURCE, chain_id=7, rpc_url="http://h", contracts={"Naive": Address(b"a" * 20)},
        more={"batch": True},
    )  # fmt: skip
    known.save(tmp_path)
    assert ModelFile.load(tmp_path) == known
    assert data_dir.begin(tmp_path, file) == known, "a run goes on with what it has deployed"
    assert data_dir.model_of(tmp_path) == "naive"


def test_an_epoch_that_the_run_does_not_have_is_not_found():
    file = ModelFile.of("naive", SOURCE)
    assert [*file.epochs] == [1, 2]
    file.check_epoch(2)
    with pytest.raises(NotFound, match=r"no epoch 3; there are 1\.\.2 here"):
        file.check_epoch(3)


def test_another_models_directory_is_refused_both_ways(tmp_path):
    data_dir.begin(tmp_path, ModelFile.of("naive", SOURCE))
    for other in ("subnet", "orchestrator"):
        with pytest.raises(InvalidInput, match=r"--data-dir: .* holds a run of the model naive"):
            data_dir.refuse_other_model(tmp_path, other)
    (tmp_path / "model.json").unlink()
    data_dir.refuse_other_model(tmp_path, "naive")
    (tmp_path / "network.json").write_text("{}")
    data_dir.refuse_other_model(tmp_path, "orchestrator")
    with pytest.raises(InvalidInput, match="model orchestrator"):
        data_dir.begin(tmp_path, ModelFile.of("naive", SOURCE))


def test_other_jobs_are_refused_by_what_differs(tmp_path):
    data_dir.begin(tmp_path, ModelFile.of("naive", SOURCE))
    longer = generate(Traffic(jobs=10, nodes=2, epochs=3))
    with pytest.raises(InvalidInput, match="n_epochs 2, these jobs make 3"):
        data_dir.begin(tmp_path, ModelFile.of("naive", longer))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "nothing"}, "'nothing' is none of naive, subnet"),
        ({"schema_digest": "xy"}, "schema_digest"),
        ({"contracts": {"Naive": "0x1"}}, "contracts.Naive"),
        ({"epoch_seconds": 0}, "epoch_seconds"),
        ({"color": 1}, "color"),
    ],
)
def test_a_file_that_is_not_of_its_form_is_refused_by_name(tmp_path, change, named):
    ModelFile.of("naive", SOURCE).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **change}))
    with pytest.raises(InvalidInput, match=named):
        data_dir.model_of(tmp_path)


def test_five_models_are_known_and_the_default_is_built():
    assert [*registry.MODELS] == ["naive", "subnet", "offchain-store", "summary", "orchestrator"]
    assert "orchestrator" in registry.built()
    for name in registry.built():
        model = registry.model_named(name)
        assert model.name == name
        assert model.takes <= ModelOptions.__dataclass_fields__.keys()
    with pytest.raises(NotFound, match="no model 'magic'; there are naive, subnet"):
        registry.model_named("magic")


def test_ten_frauds_have_names():
    assert len(FRAUDS) == 10
    with pytest.raises(NotFound, match="no fraud 'other'; there are double-report"):
        check_fraud("other")


def test_the_budget_is_the_options_else_the_datas_else_the_usual(tmp_path):
    assert ModelOptions(data_dir=tmp_path, budget_atto=5).budget_of(SOURCE, 1) == 5
    assert ModelOptions(data_dir=tmp_path).budget_of(SOURCE, 1) == DEFAULT_BUDGET_ATTO


def test_the_command_refuses_what_a_model_does_not_take(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.write_text("")
    given = ["--network", "worldcup", "--jobs", str(jobs), "--data-dir", str(tmp_path / "d")]
    for model, option, code, said in (
        ("magic", [], 3, "no model 'magic'"),
        ("orchestrator", ["--no-batch"], 2, "--batch: the model orchestrator has no such option"),
    ):
        ran = CliRunner().invoke(main, ["run", "--model", model, *given, *option])
        assert (ran.exit_code, said in ran.stderr) == (code, True), ran.stderr
    assert not (tmp_path / "d").exists()


def test_verify_asks_the_model_that_the_directory_names(tmp_path, monkeypatch):
    asked = []

    class Stranger:
        def verify(self, root, epoch):
            asked.append((root, epoch))
            raise NotFound("no epoch 9")

    monkeypatch.setitem(registry.MODELS, "naive", __name__)
    monkeypatch.setattr("test_model_data_dir.MODEL", Stranger(), raising=False)
    ModelFile.of("naive", SOURCE).save(tmp_path)
    ran = CliRunner().invoke(main, ["verify", "--data-dir", str(tmp_path), "--epoch", "9"])
    assert (ran.exit_code, asked) == (3, [(tmp_path, 9)])
