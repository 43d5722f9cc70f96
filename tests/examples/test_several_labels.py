"""The example of several labels of one text, small, and its loss."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from mtl_bert import analysis
from mtl_bert.data.text_numbers import same_texts
from mtl_bert.inference.card import interval
from mtl_bert.runs.factories import make_corpus, make_tasks
from tests.examples.test_examples import EXAMPLES


@pytest.fixture(autouse=True)
def beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python finds what lies beside the example, as where it is started."""
    monkeypatch.syspath_prepend(EXAMPLES)


def test_each_label_is_a_task_of_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = importlib.import_module("several_labels")
    run = example.main(["--out", str(tmp_path / "out"), "--notes", "200", "--epochs", "1"])
    found, rows = run.results, example.notes(200, seed=1)
    assert {task: list(score.all) for task, score in found.tasks.items()} == {
        "topics": ["f1_macro", "f1_micro"], "mood": ["accuracy", "f1_macro"],
        "urgent": ["average_precision", "f1"],
    }  # fmt: skip
    sizes = {task: sum(of.values()) for task, of in found.data.sizes.items()}
    labelled = sum(row["urgent"] is not None for row in rows)
    assert sizes == {"topics": 200, "mood": 200, "urgent": labelled}
    assert labelled < 200
    assert "topics {'f1_macro':" in capsys.readouterr().out
    low, high = interval(run, "topics") or [1, 0]  # of several labels at once, too
    assert low <= found.tasks["topics"].value <= high
    frames = analysis.read(tmp_path / "out")
    ids, labels, answers = frames.compared(frames.runs["run"].iloc[0], "topics")
    assert labels.shape == answers.shape == (found.tasks["topics"].n, 3)
    assert len(ids) == len(labels)

    tasks = make_tasks(run.settings)
    tables = make_corpus(run.settings, tasks).read("train")
    assert [list(group) for group in same_texts(tasks, tables)] == [["topics", "mood", "urgent"]]


@pytest.mark.parametrize("classes", [1, 3])
def test_the_focal_loss_is_the_papers_formula(classes: int) -> None:
    focal = importlib.import_module("losses").FocalLoss
    outputs = torch.linspace(-2, 2, 12).sin().view(-1, classes).squeeze(-1)
    labels = torch.arange(len(outputs)) % max(2, classes)
    if classes == 1:
        right = torch.where(labels == 1, outputs.sigmoid(), 1 - outputs.sigmoid())
        plain, target = nn.BCEWithLogitsLoss(), labels.float()
    else:
        right = outputs.softmax(-1)[torch.arange(len(labels)), labels]
        plain, target = nn.CrossEntropyLoss(), labels
    expected = (-((1 - right) ** 2) * right.log()).mean()
    torch.testing.assert_close(focal(2)(outputs, target), expected)
    torch.testing.assert_close(focal(0)(outputs, target), plain(outputs, target))
