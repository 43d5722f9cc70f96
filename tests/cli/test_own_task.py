"""A fourth task needs one file and no Python: here it is, beside one of the three."""

import json
from pathlib import Path

import pytest

from tests.cli.driving import Command

COLA = """\
# @package tasks.cola
# Acceptability of a sentence.
pair: false
head: {_target_: mtl_bert.tasks.Binary, names: [unacceptable, acceptable]}
loss: {_target_: torch.nn.BCEWithLogitsLoss}
metric_name: matthews
metric: {_target_: torchmetrics.classification.BinaryMatthewsCorrCoef, _partial_: true}
score: {_target_: mtl_bert.tasks.MetricRange, low: -1, high: 1}
sources:
  csv: {train: cola-train.csv, dev: cola-dev.csv, text: [sentence], label: acceptable}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of a user's own, with the task's file and two data files."""
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "cola.yaml").write_text(COLA)
    for split, count in (("train", 40), ("dev", 12)):
        rows = [f'"a sentence, number {number}",{number % 2}' for number in range(count)]
        text = "\n".join(["sentence,acceptable", *rows]) + "\n"
        (tmp_path / f"cola-{split}.csv").write_text(text)
    return tmp_path


TRAIN = (
    "train", "--config-dir", "conf", "task=[sst,cola]", "data=demo", "data.scale=0.003",
    "epochs=1", "sampler=rr", "B=48", "batch_size=8", "hydra.run.dir=run",
    "trainer.accelerator=cpu", "trainer.threads=1",
)  # fmt: skip


def test_a_fourth_task_is_trained_and_scored(command: Command, place: Path) -> None:
    done = command(*TRAIN)
    assert done.code == 0, done.err
    results = json.loads((place / "run" / "results.json").read_text())
    assert list(results["tasks"]) == ["sst", "cola"]
    cola, sst = results["tasks"]["cola"], results["tasks"]["sst"]
    assert cola["metric"] == "matthews"
    assert cola["n"] == 12
    assert -1 <= cola["value"] <= 1
    assert results["score"] == pytest.approx((sst["value"] + (cola["value"] + 1) / 2) / 2)
    assert results["data"]["sizes"]["cola"] == {"train": 40, "dev": 12}
    assert results["epochs"][0]["losses"]["cola"] > 0
    assert results["utilisation"]["cola"]["examples"] > 0


def test_its_forgotten_folder_is_named(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    (place / "conf" / "task" / "cola.yaml").rename(place / "conf" / "task" / "mine.yaml")
    done = command("train", "task=[sst,mine]")
    assert done.code == 2
    assert done.err.startswith("task: expected one of ")
    assert done.err.endswith("found 'mine'; write --config-dir conf\n")


def test_its_bad_file_is_an_error_of_one_line(command: Command, place: Path) -> None:
    (place / "cola-dev.csv").write_text("sentence\nno label\n")
    done = command(*TRAIN)
    assert done.code == 2
    (message,) = done.err.strip().splitlines()
    assert "cola-dev.csv: expected the columns sentence, acceptable, found 'sentence'" in message
    assert not (place / "run").exists()
