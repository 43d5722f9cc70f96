"""What a run leaves behind, read with nothing but the standard library, numpy and torch."""

import csv
import itertools
import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from mtl_bert.config.compose import read_settings
from mtl_bert.config.run_key import run_name
from mtl_bert.runs.factories import make_corpus, make_tasks
from mtl_bert.runs.results import Results
from mtl_bert.training.evaluation import Evaluation, Predictions
from tests.cli.driving import SAMPLERS, SURGERIES, results_in, train_here, tree
from tests.composing import sampler_words, surgery_words

SCHEMA = Path(__file__).parents[2] / "docs" / "results.schema.json"

PROMISED = {
    "schema_version", "config", "overrides", "seed", "commit", "device", "versions", "data",
    "encoder", "score", "tasks", "best_epoch", "last_epoch", "last", "untrained", "utilisation",
    "minutes_per_epoch", "epochs", "more", "skipped", "overflows", "notes", "finished", "trained",
    "best_of_tasks",
}  # fmt: skip


def test_the_published_schema_is_the_programs() -> None:
    schema = json.dumps(Results.model_json_schema(), indent=2)
    assert SCHEMA.read_text("utf-8") == schema + "\n", (
        "docs/results.schema.json is not that of mtl_bert.runs.results; write "
        "python -m mtl_bert.runs.results > docs/results.schema.json"
    )


VALIDATOR = jsonschema.validators.validator_for({})(json.loads(SCHEMA.read_text("utf-8")))
ALONE = ("full", "random", "single")  # no step has several tasks: surgery has nothing to do
TOGETHER = [sampler for sampler in SAMPLERS if sampler not in ALONE]


# Each sampler and each surgery, once; tests/test_smoke_matrix.py has every pair.
@pytest.mark.parametrize(
    ("sampler", "surgery"),
    [(sampler, "pcgrad_paper") for sampler in ALONE]
    + list(zip(itertools.cycle(TOGETHER), SURGERIES, strict=False)),
)
def test_every_sampler_and_every_surgery(tmp_path: Path, sampler: str, surgery: str) -> None:
    results = train_here(
        tmp_path,
        *sampler_words(sampler, ["sst", "sts"]),
        *surgery_words(surgery),
        *([] if sampler in ALONE else ["B=8"]),
    )
    raw = json.loads((tmp_path / "results.json").read_text("utf-8"))
    VALIDATOR.validate(raw)
    assert set(raw) == PROMISED
    assert raw["config"]["sampler"]["name"] == sampler.replace("proportional", "vanilla")
    assert set(results.tasks) == {"sst", "sts"}
    assert results.data.synthetic
    assert any("synthetic" in note for note in results.notes)
    assert results.untrained is not None
    assert results.untrained.epoch == 0
    if sampler == "random":
        assert results.epochs == []
        assert results.best_epoch == results.last_epoch == 0
        assert results.score == results.untrained.score == results.last.score
        assert results.tasks == results.untrained.tasks
        return
    *_, epoch = results.epochs
    assert len(results.epochs) == (2 if sampler == "two_stage" else 1)
    assert all(phase.steps > 0 and phase.examples > 0 for phase in epoch.phases)
    assert epoch.losses
    assert all(math.isfinite(loss) for loss in epoch.losses.values())
    sst, sts = results.tasks["sst"].value, results.tasks["sts"].value
    assert results.score == pytest.approx((sst + (sts + 1) / 2) / 2, abs=1e-12)


def test_the_files_of_a_run(trained: Path) -> None:
    assert tree(trained) == [
        ".lock",
        "checkpoints",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "config.yaml",
        "csv",
        "csv/metrics.csv",
        "metrics.jsonl",
        "predictions",
        "predictions/sst.csv",
        "predictions/sts.csv",
        "results.json",
        "train.log",
    ]


def test_the_configuration_is_the_whole_of_the_run(trained: Path) -> None:
    written = OmegaConf.to_container(OmegaConf.load(trained / "config.yaml"))
    results = results_in(trained)
    own = {"overrides": results.overrides, "run_key": run_name(read_settings(written))}
    assert written == results.config | own
    assert (written["B"], written["epochs"], written["lambda"]) == (16, 2, 0.5)
    assert "${" not in (trained / "config.yaml").read_text("utf-8")
    settings = read_settings(OmegaConf.load(trained / "config.yaml"))
    assert settings.plain() == written


def test_a_line_for_each_epoch_with_the_numbers_of_the_results(trained: Path) -> None:
    lines = (trained / "metrics.jsonl").read_text("utf-8").splitlines()
    raw = json.loads((trained / "results.json").read_text("utf-8"))
    assert [json.loads(line) for line in lines] == raw["epochs"]
    assert [epoch["epoch"] for epoch in raw["epochs"]] == [1, 2]
    assert raw["last_epoch"] == raw["last"]["epoch"] == 2
    best = max(raw["epochs"], key=lambda epoch: epoch["score"])
    assert (raw["best_epoch"], raw["score"], raw["tasks"]) == (
        best["epoch"],
        best["score"],
        best["tasks"],
    )


def test_the_csv_log_has_every_epochs_score(trained: Path) -> None:
    with (trained / "csv" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        scores = [float(row["dev/score"]) for row in csv.DictReader(file) if row["dev/score"]]
    assert scores == pytest.approx([epoch.score for epoch in results_in(trained).epochs])


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_are_for_everybody(trained: Path, name: str) -> None:
    checkpoint = torch.load(trained / "checkpoints" / f"{name}.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    assert {key.split(".")[0] for key in state} == {"encoder", "heads"}
    assert {"heads.sst.weight", "heads.sst.bias", "heads.sts.weight", "heads.sts.bias"} < set(state)
    assert state["heads.sst.weight"].shape[0] == 5
    assert all(torch.is_tensor(value) for value in state.values())
    assert ("optimizer" in checkpoint) == (name == "last")


def test_predictions_stand_in_the_dev_sets_order(trained: Path) -> None:
    settings = read_settings(OmegaConf.load(trained / "config.yaml"))
    dev = make_corpus(settings, make_tasks(settings)).read("dev")
    for task, columns in (("sst", ["text"]), ("sts", ["text", "text2"])):
        header, *rows = _read(trained / "predictions" / f"{task}.csv")
        assert header == ["id", *columns, "label", "prediction", "confidence"]
        table = dev[task]
        assert [row[0] for row in rows] == list(table.ids)
        assert [tuple(row[1:-3]) for row in rows] == list(table.texts)
        assert [float(row[-3]) for row in rows] == table.labels.tolist()


def test_confidence_is_the_predictions_own_probability(trained: Path) -> None:
    best = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    _, *rows = _read(trained / "predictions" / "sst.csv")
    assert [float(row[-1]) for row in rows] == pytest.approx(best["confidence"]["sst"].tolist())
    assert all(1 / 5 <= float(row[-1]) <= 1 for row in rows)
    assert len({row[-1] for row in rows}) > 1
    _, *rows = _read(trained / "predictions" / "sts.csv")
    assert {row[-1] for row in rows} == {""}
    assert best["confidence"]["sts"].isnan().all()


def test_training_examples_of_each_class_are_counted(trained: Path) -> None:
    settings = read_settings(OmegaConf.load(trained / "config.yaml"))
    tasks = make_tasks(settings)
    labels = make_corpus(settings, tasks).read("train")["sst"].labels.tolist()
    counted = results_in(trained).data.train_labels
    names = tasks[0].head.names
    assert {task: list(counts.items()) for task, counts in counted.items()} == {
        "sst": [(name, labels.count(number)) for number, name in enumerate(names)]
    }


def test_the_best_epoch_is_kept_and_its_metrics_follow_from_its_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Epoch 2 of 3 is made the best, whatever this model does with this data.
    real = Predictions.evaluate

    def evaluate(self: Predictions, epoch: int, *rest: object) -> Evaluation:
        evaluation = real(self, epoch, *rest)
        scores = evaluation.scores.model_copy(update={"score": (0.0, 0.3, 0.9, 0.5)[epoch]})
        return replace(evaluation, scores=scores)

    monkeypatch.setattr(Predictions, "evaluate", evaluate)
    results = train_here(tmp_path, "sampler=rr", "epochs=3", "lr=0.01")
    assert (results.best_epoch, results.last_epoch) == (2, 3)
    assert (results.score, results.last.score) == (0.9, 0.5)
    metrics = {"sst": _accuracy, "sts": _pearson}
    for task, metric in metrics.items():
        _, *rows = _read(tmp_path / "predictions" / f"{task}.csv")
        # Single precision is what the model predicts in; the file has all of its digits.
        labels, predictions = np.array([row[-3:-1] for row in rows], np.float32).astype(float).T
        recorded = results.epochs[1].tasks[task]
        assert recorded.n == len(rows)
        assert metric(labels, predictions) == pytest.approx(recorded.value, abs=1e-12)
    assert results.epochs[1].tasks["sts"] != results.epochs[2].tasks["sts"]
    best, last = (
        torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("best", "last")
    )
    assert not torch.equal(best["heads.sts.weight"], last["heads.sts.weight"])


def test_an_epoch_whose_dev_sets_are_not_scored_has_all_but_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # Epoch 1 would be the best; it is not looked at.
    real = Predictions.evaluate

    def evaluate(self: Predictions, epoch: int, *rest: object) -> Evaluation:
        evaluation = real(self, epoch, *rest)
        scores = evaluation.scores.model_copy(update={"score": 1 - epoch / 10})
        return replace(evaluation, scores=scores)

    monkeypatch.setattr(Predictions, "evaluate", evaluate)
    results = train_here(tmp_path, "sampler=rr", "epochs=5", "trainer.check_val_every_n_epoch=2")
    raw = json.loads((tmp_path / "results.json").read_text("utf-8"))
    VALIDATOR.validate(raw)
    assert [e["score"] for e in raw["epochs"]] == [None, 0.8, None, 0.6, 0.5]
    assert [e["tasks"] is None for e in raw["epochs"]] == [True, False, True, False, False]
    assert [e.validation_seconds > 0 for e in results.epochs] == [False, True, False, True, True]
    assert (results.best_epoch, results.score, results.last) == (2, 0.8, results.epochs[-1].scores)
    for epoch in results.epochs:
        assert epoch.seconds > 0
        assert set(epoch.losses) == set(epoch.utilisation) == {"sst", "sts"}
        assert [(p.name, p.steps) for p in epoch.phases] == [("rr", 4)]
    lines = (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == raw["epochs"]
    said = [line for line in caplog.messages if line.startswith("epoch ")]
    loss = results.epochs[0].losses["sst"]
    assert said[0].startswith(f"epoch 1/5  not scored  sst loss {loss:.3f}  sts loss ")
    assert said[1].startswith("epoch 2/5  score 0.800  sst accuracy ")
    assert len(said) == 5
    assert [
        n
        for n in results.notes
        if n.startswith("trainer.check_val_every_n_epoch=2: the best epoch")
    ]


def test_results_say_nothing_unknown(trained: Path) -> None:
    raw = json.loads((trained / "results.json").read_text("utf-8"))
    with pytest.raises(ValueError, match="extra"):
        Results.model_validate({**raw, "unknown": 1})
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**raw, "unknown": 1})


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    return float((labels == predictions).mean())


def _pearson(labels: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.corrcoef(labels, predictions)[0, 1])
