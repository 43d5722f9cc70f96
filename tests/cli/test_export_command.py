"""``mtl-bert export``: others load what a run has learned, and get the same answers."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from mtl_bert.inference.opened import Run
from mtl_bert.model import MultiTaskModel, Pretrained
from mtl_bert.model.encoder import data_sets_of
from mtl_bert.runs.factories import make_tasks
from tests.cli.driving import Command, train_here, tree
from tests.model.test_families import saved

PIECES = ["README.md", "config.json", "heads.json", "heads.safetensors", "model.safetensors"]


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mtl_bert.inference.opened import Run
    from mtl_bert.inference.transformers_export import export

    out = tmp_path_factory.mktemp("exported") / "model"
    export(Run.open(trained), out)
    return out


def answers_of_the_card(out: Path, task: str, *texts: str) -> torch.Tensor:
    """What the snippet in the model card says, run as it stands but for its placeholders."""
    code = re.search(r"```python\n(.*?)```", (out / "README.md").read_text("utf-8"), re.DOTALL)
    assert code
    lines = code[1].splitlines()
    (where,) = (k for k, line in enumerate(lines) if line.startswith("place, task, texts ="))
    lines[where] = f"place, task, texts = {str(out)!r}, {task!r}, {texts!r}"
    names: dict[str, torch.Tensor] = {}
    exec("\n".join(lines), names)
    return names["outputs"]


def predictions(run: Path, task: str) -> list[dict[str, str]]:
    with (run / "predictions" / f"{task}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_transformers_loads_all_of_it(exported: Path) -> None:
    assert set(PIECES) <= set(tree(exported))
    encoder, tokenizer = (c.from_pretrained(exported) for c in (AutoModel, AutoTokenizer))
    assert tokenizer("a film")["input_ids"]
    heads = load_file(exported / "heads.safetensors")
    features = encoder.config.hidden_size
    assert {name: tuple(tensor.shape) for name, tensor in heads.items()} == {
        "sst.weight": (5, features),
        "sst.bias": (5,),
        "sts.weight": (1, features),
        "sts.bias": (1,),
    }
    about = json.loads((exported / "heads.json").read_text("utf-8"))
    assert about["heads"]["sts"] == {
        "type": "Regression", "pair": True, "pairs": "joint", "low": 0.0, "high": 5.0,
    }  # fmt: skip
    assert about["made_from"]["synthetic"] is True


def test_the_card_answers_as_the_run_did(trained: Path, exported: Path) -> None:
    for row in predictions(trained, "sst")[:4]:
        outputs = answers_of_the_card(exported, "sst", row["text"])
        assert outputs.argmax().item() == float(row["prediction"])
        assert outputs.softmax(-1).max().item() == pytest.approx(float(row["confidence"]), abs=1e-5)
    for row in predictions(trained, "sts")[:4]:
        outputs = answers_of_the_card(exported, "sts", row["text"], row["text2"])
        assert outputs.item() == pytest.approx(float(row["prediction"]), abs=1e-5)


def test_the_card_says_what_the_numbers_are_about(exported: Path) -> None:
    card = (exported / "README.md").read_text("utf-8")
    assert "SYNTHETIC" in card
    assert "data=demo is synthetic" in card
    assert data_sets_of(str(exported)) == []


def test_the_card_names_no_place_of_this_machine(trained: Path, tmp_path: Path) -> None:
    """A command's absolute paths keep their last part alone, as in what report publishes."""
    from mtl_bert.inference.opened import Run

    opened = Run.open(trained)
    told = ["data.dir=/home/somebody/private data", "seed=3"]
    results = opened.results.model_copy(update={"overrides": told})
    replace(opened, results=results).save(tmp_path / "out")
    for name in ("README.md", "heads.json"):
        text = (tmp_path / "out" / name).read_text("utf-8")
        assert "mtl-bert train 'data.dir=DIR/private data' seed=3" in text
        assert "somebody" not in text


def test_a_run_on_top_of_a_model_knows_what_it_has_seen(tmp_path: Path) -> None:
    """Had its texts been real, the card would have named them in a form that is understood."""
    from mtl_bert.inference.opened import Run
    from mtl_bert.inference.transformers_export import export

    train_here(tmp_path / "run", "sampler=rr")
    opened = Run.open(tmp_path / "run")
    real = opened.results.data.model_copy(update={"synthetic": False, "seen": {"sts": ["snli"]}})
    opened = replace(opened, results=opened.results.model_copy(update={"data": real}))
    export(opened, tmp_path / "out")
    named = data_sets_of(str(tmp_path / "out"))
    assert named == ["snli", "sst", "stsb"]
    for task in make_tasks(opened.settings):
        assert task.among(named)
    # These are no data sets that the hub could link to; those of data=hub are.
    assert ModelCard.load(tmp_path / "out" / "README.md").data.get("datasets") is None
    opened.settings.data.source["name"] = "hub"
    export(opened, tmp_path / "from_hub")
    card = ModelCard.load(tmp_path / "from_hub" / "README.md").data
    assert card.get("datasets") == ["SetFit/sst5", "nyu-mll/glue"]


def test_texts_that_are_encoded_alone(command: Command, tmp_path: Path) -> None:
    train_here(tmp_path / "run", "model.pairs=alone", "sampler=rr")
    assert command("export", "run", "out").code == 0
    for row in predictions(tmp_path / "run", "sts")[:2]:
        outputs = answers_of_the_card(tmp_path / "out", "sts", row["text"], row["text2"])
        assert outputs.item() == pytest.approx(float(row["prediction"]), abs=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_texts_pooled_otherwise(pooling: str, command: Command, tmp_path: Path) -> None:
    results = train_here(tmp_path / "run", f"model.pooling={pooling}", "sampler=rr")
    assert results.encoder == f"tiny (pooling={pooling})"
    assert command("export", "run", "out").code == 0
    for row in predictions(tmp_path / "run", "sst")[:2]:
        outputs = answers_of_the_card(tmp_path / "out", "sst", row["text"])
        assert outputs.softmax(-1).max().item() == pytest.approx(float(row["confidence"]), abs=1e-5)
    again = MultiTaskModel(
        make_tasks(Run.open(tmp_path / "run").settings),
        Pretrained(str(tmp_path / "out"), local=True),
    )
    assert again.pooling.kind == pooling


@pytest.mark.parametrize(
    "how", ["pals", "low_rank model.pooling=mean", "pals sampler=single", "pals model.pairs=alone"]
)
def test_layers_of_each_task_come_with_it(how: str, command: Command, tmp_path: Path) -> None:
    sampler = () if "sampler" in how else ("sampler=rr",)
    train_here(tmp_path / "run", *sampler, *f"model.adapter={how}".split(), "lr=0.01")
    assert command("export", "run", "out").code == 0
    for task, texts in (("sst", ["text"]), ("sts", ["text", "text2"])):
        out = tmp_path / "out" / task if "single" in how else tmp_path / "out"
        for row in predictions(tmp_path / "run", task)[:2]:
            outputs = answers_of_the_card(out, task, *(row[t] for t in texts))
            answer = outputs.argmax().item() if task == "sst" else outputs.item()
            assert answer == pytest.approx(float(row["prediction"]), abs=1e-5)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # peft's
@pytest.mark.parametrize("apart", [(), ("--apart",)], ids=["merged", "apart"])
@pytest.mark.parametrize("kind", ["lora", "lora_per_task"])
def test_lora_is_merged_or_apart(
    kind: str, apart: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    train_here(tmp_path / "run", "sampler=rr", f"model.adapter={kind}", "lr=0.01")
    assert command("export", "run", "out", *apart).code == 0
    for task, texts in (("sst", ["text"]), ("sts", ["text", "text2"])):
        own = kind == "lora_per_task" and not apart
        out = tmp_path / "out" / task if own else tmp_path / "out"
        assert not any("lora" in name for name in load_file(out / "model.safetensors"))
        for row in predictions(tmp_path / "run", task)[:2]:
            outputs = answers_of_the_card(out, task, *(row[t] for t in texts))
            answer = outputs.argmax().item() if task == "sst" else outputs.item()
            assert answer == pytest.approx(float(row["prediction"]), abs=1e-5)


def test_only_lora_can_be_left_apart(command: Command, trained: Path) -> None:
    refused = command("export", str(trained), "out", "--apart")
    assert refused.code == 2
    assert refused.err.startswith("--apart: expected a run with LoRA, found model.adapter=none")


def test_the_encoder_of_t5_comes_without_a_decoder(command: Command, tmp_path: Path) -> None:
    saved(tmp_path / "encoder", "T5EncoderModel")
    path = f"model.path={tmp_path / 'encoder'}"
    train_here(tmp_path / "run", "sampler=rr", "model=local", path, "lr=0.01")
    assert command("export", "run", "out").code == 0
    for row in predictions(tmp_path / "run", "sts")[:2]:
        outputs = answers_of_the_card(tmp_path / "out", "sts", row["text"], row["text2"])
        assert outputs.item() == pytest.approx(float(row["prediction"]), abs=1e-5)


def test_an_encoder_per_task_is_a_directory_per_task(command: Command, tmp_path: Path) -> None:
    train_here(tmp_path / "run", "sampler=single")
    (tmp_path / "out").mkdir()  # empty: it may be filled
    assert command("export", "run", "out").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sst", "sts"]
    for task, texts in (("sst", ["text"]), ("sts", ["text", "text2"])):
        row = predictions(tmp_path / "run", task)[0]
        outputs = answers_of_the_card(tmp_path / "out" / task, task, *(row[t] for t in texts))
        answer = outputs.argmax().item() if task == "sst" else outputs.item()
        assert answer == pytest.approx(float(row["prediction"]), abs=1e-5)


def test_what_is_there_is_not_touched(command: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    refused = command("export", str(trained), "out")
    assert refused.code == 2
    assert refused.err.startswith("OUT: expected a new or empty directory, found out")
    assert tree(tmp_path) == ["out", "out/mine"]
    assert command("export", str(trained)).err.startswith("OUT: expected a new or empty directory")


def test_a_failure_leaves_nothing(
    command: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtl_bert.inference import transformers_export as exporting

    def fail(*given: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(exporting, "write_card", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        command("export", str(trained), "out")
    assert tree(tmp_path) == []
