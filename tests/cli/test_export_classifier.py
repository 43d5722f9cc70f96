"""``mtl-bert export --to transformers --task``: a model that needs no code of ours."""

import importlib
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    pipeline,
)

import mtl_bert
from mtl_bert.inference.opened import Run
from mtl_bert.inference.transformers_export import as_classifier
from mtl_bert.model import MultiTaskModel, Tiny
from mtl_bert.model.adapters import Adapter
from mtl_bert.model.packing import sample
from mtl_bert.tasks import Binary, Head, MultiClass, MultiLabel, Regression
from mtl_bert.utils.errors import UserError
from tests.cli.driving import Command, train_here
from tests.factories import assert_tells, make_task
from tests.forking import in_a_fork

HEADS = [
    MultiClass(("a", "b", "c")),
    Binary(("nay", "yea")),
    MultiLabel(("a", "b", "c")),
    Regression(0, 5),
]
SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
DISTILBERT = {"vocab_size": 60, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}
FAMILIES = {
    "bert": {}, "roberta": {}, "xlm-roberta": {}, "camembert": {},
    "electra": {"embedding_size": 16}, "albert": {"embedding_size": 8}, "mpnet": {},
    "deberta-v2": {}, "distilbert": DISTILBERT,
}  # fmt: skip


class Made(Tiny):
    """An encoder of some family with random weights."""

    def __init__(self, family: str) -> None:
        own = FAMILIES.get(family, {})
        config = AutoConfig.for_model(family, **(own if "dim" in own else SMALL | own))
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "settings", {})

    def encoder(self) -> PreTrainedModel:
        torch.manual_seed(0)
        made: PreTrainedModel = AutoModel.from_config(self.config)
        for parameter in made.parameters():  # of a size at which activations are no straight lines
            parameter.data.normal_(std=0.3)
        return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_logits_are_ours(family: str, head: Head) -> None:
    task = make_task("toy", head=head)
    pooling = "cls" if family in ("electra", "deberta-v2", "distilbert") else "pooler"
    model = MultiTaskModel([task], Made(family), pooling=pooling).eval()
    made = as_classifier(model, task)
    batch = sample(model.encoder_of("toy"), (9, 2, 6))
    ids = batch.padded(batch.input_ids, made.config.pad_token_id or 0)
    with torch.inference_mode():
        logits = made(input_ids=ids, attention_mask=batch.mask.long()).logits
        ours = model("toy", batch)
    if isinstance(head, Binary):
        assert logits[:, 0].abs().max() < 1e-6
        logits = logits[:, 1]
    torch.testing.assert_close(logits.reshape(ours.shape), ours, rtol=1e-4, atol=1e-5)
    assert ours.std() > 1e-3


@pytest.mark.parametrize(
    ("family", "how"),
    [("modernbert", {}), ("bert", {"pooling": "mean"}), ("bert", {"adapter": Adapter("pals")})],
)
def test_what_has_no_form_is_refused(family: str, how: dict[str, Any]) -> None:
    task = make_task("toy", head=HEADS[0])
    model = MultiTaskModel([task], Made(family), **how)
    for parameter in model.parameters():  # PALs begin with none of it
        parameter.data.normal_(std=0.3)
    with pytest.raises(UserError) as error:
        as_classifier(model.eval(), task)
    assert_tells(error.value, type(model.encoder_of("toy")).__name__, "leave it out", "--to onnx")
    fitting = None if "adapter" in how else "cls" if family == "modernbert" else "pooler"
    assert ("train with model.pooling" in str(error.value)) == (fitting is not None)
    assert fitting is None or f"model.pooling={fitting}" in str(error.value)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # peft's
@pytest.mark.parametrize("kind", ["lora", "lora_per_task"])
def test_lora_is_merged(kind: str) -> None:
    pytest.importorskip("peft")
    tasks = [make_task(name, head=HEADS[0]) for name in ("toy", "other")]
    model = MultiTaskModel(tasks, Made("bert"), adapter=Adapter(kind)).eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.3)
    batch = sample(model.encoder_of("toy"), (9, 2, 6))
    ids = batch.padded(batch.input_ids, 0)
    with torch.inference_mode():
        for task in tasks:
            made = as_classifier(model, task)
            logits = made(input_ids=ids, attention_mask=batch.mask.long()).logits
            torch.testing.assert_close(logits, model(task.name, batch), rtol=1e-4, atol=1e-5)


def test_a_pipeline_answers_as_the_run_did(command: Command, trained: Path, tmp_path: Path) -> None:
    opened = Run.open(trained)
    words = (str(trained), "--to", "transformers", "--task")
    assert command("export", *words, "sst", "--out", "sst").code == 0
    assert command("export", *words, "sts", "--out", "sts").code == 0
    before = opened.predictions("sst")[:20]
    names = opened.settings.tasks["sst"]["head"]["names"]
    found = pipeline("text-classification", "sst")(list(before.text), truncation=True)
    assert [each["label"] for each in found] == [names[int(n)] for n in before.prediction]
    assert [each["score"] for each in found] == pytest.approx(before.confidence.tolist(), abs=1e-5)
    pairs = opened.predictions("sts")[:10]
    asked = [{"text": a, "text_pair": b} for a, b in zip(pairs.text, pairs.text2, strict=True)]
    found = pipeline("text-classification", "sts")(asked, truncation=True)
    assert [each["score"] for each in found] == pytest.approx(pairs.prediction.tolist(), abs=1e-5)
    assert {each["label"] for each in found} == {"sts"}


def test_it_needs_no_code_of_ours(trained: Path, tmp_path: Path) -> None:
    opened = Run.open(trained)
    opened.save(tmp_path / "out", task="sst")

    def work() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mtl_bert"]:
            sys.modules[name] = None  # type: ignore[assignment]  # to import it is an error now
        with pytest.raises(ImportError):
            importlib.import_module("mtl_bert")
        answer = pipeline("text-classification", str(tmp_path / "out"))(["A fine film ."])
        (tmp_path / "answer").write_text(answer[0]["label"], "utf-8")

    assert in_a_fork(work) == 0
    label = opened.predict("sst", ["A fine film ."]).name[0]
    assert (tmp_path / "answer").read_text("utf-8") == label


@pytest.mark.parametrize("task", ["sst", "sts"])
def test_the_card_answers(trained: Path, tmp_path: Path, task: str) -> None:
    opened = Run.open(trained)
    opened.save(tmp_path / "out", task=task)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    code = re.search(r"```python\n(.*?)```", card.text, re.DOTALL)
    assert code
    names: dict[str, list[dict[str, object]]] = {}
    exec(code[1].replace('"DIR"', repr(str(tmp_path / "out"))), names)
    text = "A text." if task == "sst" else ("A first text.", "A second text.")
    answer = opened.predict(task, [text])
    expected = answer.confidence[0] if task == "sst" else answer.prediction[0]
    (found,) = [names["outputs"]] if isinstance(names["outputs"], dict) else names["outputs"]
    assert found["score"] == pytest.approx(expected, abs=1e-5)
    assert card.data.get("pipeline_tag") == "text-classification"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.model_max_length == opened.predictor.tokenize.max_length


def test_it_is_trained_further_from_where_it_is(trained: Path, tmp_path: Path) -> None:
    """What was saved is what was made: nothing is lost or new when it is loaded."""
    Run.open(trained).save(tmp_path / "out", task="sst")
    _, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_what_has_no_form_is_one_line(command: Command, trained: Path, tmp_path: Path) -> None:
    train_here(tmp_path / "run", "sampler=rr", "model.pairs=alone")
    for words, message in {
        ("run", "--task", "sts"): "--task: expected classes or a number, of a text or a pair",
        ("run", "--task", "qqp"): "--task: expected one of sst, sts",
        ("run", "other"): "OUT: expected a new or empty directory, found two, other and out",
        ("run", "--quantize", "int8"): "--to: expected transformers, or onnx with quantize",
        ("run", "--to", "tflite"): "--to: expected transformers or onnx, found 'tflite'",
    }.items():
        ended = command("export", *words, "--out", "out")
        assert (ended.code, len(ended.err.splitlines())) == (2, 1)
        assert ended.err.startswith(message)
    assert not (tmp_path / "out").exists()
    assert command("export", "run", "--task", "sst", "--out", "out").code == 0


@pytest.mark.parametrize("how", ["pairs=alone", "pooling=mean", "adapter=pals"])
def test_all_heads_in_two_lines(tmp_path: Path, how: str) -> None:
    """An export and the folder itself answer as the run did."""
    train_here(tmp_path / "run", "sampler=rr", f"model.{how}", "lr=0.01")
    opened = Run.open(tmp_path / "run")
    opened.save(tmp_path / "out")
    for place in ("out", "run"):
        model = mtl_bert.load(tmp_path / place)
        for task in ("sst", "sts"):
            before = opened.predictions(task)[:10]
            columns = [before[name] for name in ("text", "text2") if name in before]
            found = model.predict(task, list(zip(*columns, strict=True)))
            assert found.prediction.tolist() == pytest.approx(before.prediction.tolist(), abs=1e-5)


def test_what_cannot_be_loaded_is_one_line(trained: Path, tmp_path: Path) -> None:
    opened = Run.open(trained)
    opened.save(tmp_path / "out")
    (tmp_path / "more").mkdir()
    (tmp_path / "out").rename(tmp_path / "more" / "sst")
    for place, said in {
        tmp_path / "gone": "No such file",
        tmp_path / "more": f"one for each of sst; write {tmp_path / 'more' / 'sst'}",
    }.items():
        with pytest.raises(UserError) as error:
            mtl_bert.load(place)
        assert_tells(error.value, str(place), said)
    heads = tmp_path / "more" / "sst" / "heads.json"
    for before, after in (('"format": 1', '"format": 2'), ("MultiClass", "Mine"), ("{", "[")):
        text = heads.read_text("utf-8")
        heads.write_text(text.replace(before, after, 1), "utf-8")
        with pytest.raises(UserError) as error:
            mtl_bert.load(tmp_path / "more" / "sst")
        assert_tells(error.value, "sst")
        heads.write_text(text, "utf-8")


def test_the_card_says_how_sure_the_scores_are(trained: Path, tmp_path: Path) -> None:
    opened = Run.open(trained)
    opened.save(tmp_path / "out", task="sst")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    score = opened.results.tasks["sst"]
    found = re.search(rf"accuracy {score.value:.3f} \[(0\.\d+), (0\.\d+)\], n=40", card)
    assert found
    assert float(found[1]) < score.value < float(found[2])
    # Twice the deviation of a share, √(p (1 − p) / n), to each side.
    spread = 4 * (score.value * (1 - score.value) / score.n) ** 0.5
    assert float(found[2]) - float(found[1]) == pytest.approx(spread, rel=0.2)
    assert "SYNTHETIC" in card
    assert f"seed {opened.results.seed}" in card
    assert f"mtl-bert train {shlex.join(opened.results.overrides or ())}\n" in card
    last = replace(opened, checkpoint="last")
    last.save(tmp_path / "last", task="sst")
    assert "In brackets" not in (tmp_path / "last" / "README.md").read_text("utf-8")
