"""Samples of the dev sets choose the best epoch; its scores are those of the whole dev sets."""

import csv
import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_bert import evaluate
from mtl_bert.inference.opened import Run
from mtl_bert.machine.signals import EXIT_CODE
from mtl_bert.training import run as running
from mtl_bert.training.callbacks import recorder
from mtl_bert.training.divergence import DivergedError
from mtl_bert.training.module import MultiTaskModule
from tests.composing import settings_of
from tests.forking import in_a_fork, together
from tests.training.test_interruption import (
    KILLED,
    RUN,
    assert_as_if_nothing_had_happened,
    call_at,
    carry_out,
    die,
    left_by,
    send,
)
from tests.training.test_processes import RUN as SEVERAL
from tests.training.test_processes import TWO

# 12 of SST's 60 dev examples; STS's ten are less than the sample may have. With this rate and seed
# the sample chooses an epoch that is neither the last nor the one that all examples would choose.
BIG = (
    "tasks.sst.sources.demo.dev=60", "tasks.sts.sources.demo.dev=10", "epochs=4", "lr=2e-3",
    "seed=6", "surgery=pcgrad_paper",
)  # fmt: skip
SAMPLED = (*BIG, "trainer.dev_sample=12")
SIZES = {"sst": 60, "sts": 10}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sampled") / "run"
    assert carry_out(directory, *SAMPLED) == 0
    return directory


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same training, all dev examples scored after each epoch."""
    directory = tmp_path_factory.mktemp("everything") / "run"
    assert carry_out(directory, *BIG, "trainer.dev_sample=null") == 0
    return left_by(directory)


def test_samples_choose_and_whole_dev_sets_are_reported(
    ended: Path, everything: dict[str, Any]
) -> None:
    found, full = left_by(ended)["results"], everything["results"]
    scores = [epoch["score"] for epoch in found["epochs"]]
    best = 1 + scores.index(max(scores))
    assert found["best_epoch"] == best
    for epoch in found["epochs"]:
        assert {task: of["n"] for task, of in epoch["tasks"].items()} == {"sst": 12, "sts": 10}
    reported = {key: found[key] for key in ("score", "tasks")}
    assert reported == {key: full["epochs"][best - 1][key] for key in ("score", "tasks")}
    assert {task: of["n"] for task, of in found["tasks"].items()} == SIZES
    assert found["last"] == full["last"]
    assert found["untrained"] == full["untrained"]
    # Otherwise nothing was tested.
    assert best not in (found["last_epoch"], full["best_epoch"])


def test_what_is_trained_is_the_same(ended: Path, everything: dict[str, Any]) -> None:
    last, full = left_by(ended)["last"], everything["last"]
    assert {n: w.tolist() for n, w in last["state_dict"].items()} == {
        n: w.tolist() for n, w in full["state_dict"].items()
    }


def test_predictions_are_of_the_best_epoch_and_of_all_examples(ended: Path) -> None:
    results = json.loads((ended / "results.json").read_text("utf-8"))
    with (ended / "predictions" / "sst.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SIZES["sst"]
    right = sum(float(row["label"]) == float(row["prediction"]) for row in rows)
    assert right / len(rows) == pytest.approx(results["tasks"]["sst"]["value"])


def test_a_reader_is_told(ended: Path) -> None:
    (told,) = [n for n in Run.open(ended).results.notes if "dev_sample" in n]
    assert told == (
        "trainer.dev_sample=12: the best epoch is chosen on a sample of dev examples (12 of the "
        "60 of sst); its scores and the last epoch's are of all"
    )


def test_a_reader_is_told_what_one_answer_for_all_would_reach(ended: Path) -> None:
    results = Run.open(ended).results
    told = {note.split()[0] for note in results.notes if "was not learned" in note}
    assert told == {task for task, of in results.tasks.items() if of.value <= (of.constant or 0)}
    with (ended / "predictions" / "sst.csv").open(encoding="utf-8", newline="") as file:
        labels = Counter(row["label"] for row in csv.DictReader(file))
    assert results.tasks["sst"].constant == max(labels.values()) / labels.total()
    assert results.tasks["sts"].constant == 0


def test_one_half_chooses_and_the_other_is_reported(
    everything: dict[str, Any], tmp_path: Path
) -> None:
    whole, chosen = tmp_path / "whole", tmp_path / "half"
    assert carry_out(whole, *BIG, "epochs=1", "trainer.dev_sample=null") == 0
    assert carry_out(chosen, *BIG, "data.select=0.4") == 0
    found = left_by(chosen)["results"]
    assert found["data"]["sizes"]["sst"] | {"train": 0} == {"train": 0, "dev": 36, "select": 24}
    assert [of["tasks"]["sst"]["n"] for of in (*found["epochs"], found)] == [24] * 4 + [36]
    scores = [epoch["score"] for epoch in found["epochs"]]
    assert found["best_epoch"] == 1 + scores.index(max(scores))
    assert [note for note in found["notes"] if "data.select=0.4" in note]
    ids = {}
    for run, n in ((whole, 60), (chosen, 36)):
        with (run / "predictions" / "sst.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == n
        ids[run] = [row["id"] for row in rows]
    assert set(ids[chosen]) < set(ids[whole])
    right = [float(row["label"]) == float(row["prediction"]) for row in rows]
    assert found["tasks"]["sst"]["value"] == pytest.approx(sum(right) / 36)
    last, full = left_by(chosen)["last"], everything["last"]
    assert {n: w.tolist() for n, w in last["state_dict"].items()} == {
        n: w.tolist() for n, w in full["state_dict"].items()
    }


@pytest.mark.parametrize("by", ["data.select=0.4", "trainer.dev_sample=12"])
def test_each_tasks_best_epoch_is_reported_on_what_did_not_choose_it(
    by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = (*BIG, "trainer.best_per_task=true", by)
    assert carry_out(tmp_path / "run", *chosen) == 0
    found = left_by(tmp_path / "run")["results"]
    reported = {task: of["n"] for task, of in found["tasks"].items()}
    amid = {task: of["n"] for task, of in found["epochs"][0]["tasks"].items()}
    assert reported["sst"] > amid["sst"]
    for task, of in found["best_of_tasks"].items():
        values = [epoch["tasks"][task]["value"] for epoch in found["epochs"]]
        assert of["epoch"] == 1 + values.index(max(values))
        assert {t: own["n"] for t, own in of["tasks"].items()} == reported
        evaluate.main([str(tmp_path / "run"), "--checkpoint", task])
        assert "the numbers are the recorded ones" in capsys.readouterr().out
    # Otherwise nothing was tested: an epoch that is neither the best nor the last.
    others = {of["epoch"] for of in found["best_of_tasks"].values()}
    assert others - {found["best_epoch"], found["last_epoch"]}
    # The best epoch's answers stand beside its scores, whatever was scored after it.
    with (tmp_path / "run" / "predictions" / "sst.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = [float(row["label"]) == float(row["prediction"]) for row in rows]
    assert found["tasks"]["sst"]["value"] == pytest.approx(sum(right) / len(right))


def test_a_sample_as_large_as_the_dev_sets_is_none(
    everything: dict[str, Any], tmp_path: Path
) -> None:
    assert carry_out(tmp_path / "run", *BIG, "trainer.dev_sample=60") == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", everything)


@pytest.mark.parametrize(
    "hook",
    [
        lambda: call_at(recorder.Recorder, "keep_best", 2, die, after=True),
        lambda: call_at(recorder.Recorder, "on_train_epoch_end", 4, die, after=True),
        # The untrained model and each of the four epochs have two batches, and so have the last's.
        lambda: call_at(MultiTaskModule, "validation_step", 12, die, after=False),
        lambda: call_at(MultiTaskModule, "validation_step", 14, die, after=True),
        lambda: call_at(recorder.Recorder, "finish", 1, die, after=True),
    ],
    ids=["amid", "before whole dev sets", "in the last's", "in the best's", "before the results"],
)
def test_killed_and_gone_on_with(ended: Path, tmp_path: Path, hook: Callable[[], None]) -> None:
    assert carry_out(tmp_path / "run", *SAMPLED, hook=hook) == KILLED
    assert carry_out(tmp_path / "run", *SAMPLED) == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", left_by(ended))


def test_asked_to_stop_while_whole_dev_sets_are_scored(ended: Path, tmp_path: Path) -> None:
    def hook() -> None:
        call_at(MultiTaskModule, "validation_step", 12, send(signal.SIGTERM), after=False)

    assert carry_out(tmp_path / "run", *SAMPLED, hook=hook) == EXIT_CODE
    assert not (tmp_path / "run" / "results.json").exists()
    assert carry_out(tmp_path / "run", *SAMPLED) == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", left_by(ended))


def test_answers_that_are_not_finite_are_of_an_epoch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def spoil(module: MultiTaskModule, *_: object) -> None:
        torch.nn.init.constant_(module.model.heads["sst"].bias, float("nan"))

    def work() -> None:
        call_at(MultiTaskModule, "validation_step", 11, spoil, after=False)
        with pytest.raises(DivergedError, match=r"^epoch 4: expected finite predictions"):
            running.run(settings_of(*RUN, *SAMPLED), tmp_path / "run")

    assert in_a_fork(work) == 0, capfd.readouterr().err


def test_more_epochs_choose_as_if_there_had_been_no_end(tmp_path: Path) -> None:
    more = [o for o in SAMPLED if not o.startswith("epochs")] + ["scheduler=constant"]
    assert carry_out(tmp_path / "whole", *more, "epochs=4") == 0
    assert carry_out(tmp_path / "run", *more, "epochs=2") == 0
    assert carry_out(tmp_path / "run", *more, "epochs=4") == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", left_by(tmp_path / "whole"))


def test_few_examples_are_enough_for_several_processes(tmp_path: Path) -> None:
    """A sample of five fits into one batch, and two processes have to have one each."""
    alone = [override for override in SEVERAL if "qqp" not in override and "sts" not in override]
    chosen = (*alone, *TWO, "task=[sst]", "sampler=rr", "epochs=1", "trainer.dev_sample=5")
    run = tmp_path / "run"
    assert together(2, lambda _: running.run(settings_of(*chosen), run)) == [0, 0]
    results = json.loads((run / "results.json").read_text("utf-8"))
    assert results["epochs"][0]["tasks"]["sst"]["n"] == 5
    assert results["tasks"]["sst"]["n"] == 15


def test_one_of_two_processes_is_asked_to_stop_at_the_end(tmp_path: Path) -> None:
    chosen = (*SEVERAL, *TWO, "sampler=rr", "trainer.dev_sample=10", "data.scale=0.003")

    def work(rank: int) -> None:
        if rank == 1:
            call_at(MultiTaskModule, "on_train_epoch_start", 2, later, after=True)
        running.run(settings_of(*chosen), tmp_path / "run")

    def later(*_: object) -> None:
        call_at(MultiTaskModule, "on_validation_epoch_end", 1, send(signal.SIGTERM), after=True)

    assert together(2, work) == [EXIT_CODE, EXIT_CODE]
    assert not (tmp_path / "run" / "results.json").exists()
    assert together(2, lambda _: running.run(settings_of(*chosen), tmp_path / "run")) == [0, 0]


def test_two_processes_report_what_one_does(tmp_path: Path) -> None:
    chosen = (
        *SEVERAL, "sampler=rr", "epochs=3", "lr=1e-2", "seed=2", "trainer.dev_sample=10",
        "trainer.eval_batch_size=4", "tasks.qqp.sources.demo.dev=40",
    )  # fmt: skip

    def work(_: int) -> None:
        running.run(settings_of(*chosen, *TWO), tmp_path / "two")

    assert together(2, work) == [0, 0]
    running.run(settings_of(*chosen, "batch_size=6"), tmp_path / "one")
    one, two = (
        json.loads((tmp_path / name / "results.json").read_text("utf-8")) for name in ("one", "two")
    )
    assert two["best_epoch"] == one["best_epoch"] != two["last_epoch"]
    for each in (two, two["last"]):
        assert {task: of["n"] for task, of in each["tasks"].items()} == {
            "sst": 15, "qqp": 40, "sts": 15,
        }  # fmt: skip
    assert two["score"] == pytest.approx(one["score"], abs=1e-9)
    assert two["last"]["score"] == pytest.approx(one["last"]["score"], abs=1e-9)
