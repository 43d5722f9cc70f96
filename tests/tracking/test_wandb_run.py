"""What W&B has of a run: all that docs/reference/metrics.md promises, also of a killed one."""

import csv
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mtl_bert.config.settings import Settings
from mtl_bert.runs.results import Results
from mtl_bert.tracking import loggers
from mtl_bert.training import run as running
from mtl_bert.training.build import assemble
from mtl_bert.training.callbacks.wandb_updates import WandbCallback
from tests.cli.driving import SMALL, results_in
from tests.composing import settings_of
from tests.documented import filled, promised
from tests.forking import in_a_new_process
from tests.offline_wandb import Row, config_of, history_of, records_in, summary_of

WANDB = (
    *SMALL,
    "epochs=3",
    "B=24",
    "lr=3e-3",
    "trainer.layers_every=1",
    "logger=wandb",
    "logger.wandb.mode=offline",
)
INTERNAL = {"_step", "_runtime", "_timestamp", "_wandb", loggers.STEP}


class Kept(NamedTuple):
    """A finished run, with what W&B has of it."""

    directory: Path
    settings: Settings
    results: Results
    rows: list[Row]
    summary: Row

    @property
    def metrics(self) -> dict[str, str]:
        """Task -> the name of its metric."""
        return {task: score.metric for task, score in self.results.tasks.items()}


def carry_out(directory: Path, *overrides: str, hook: Callable[[], None] = lambda: None) -> int:
    chosen = settings_of(*WANDB, *overrides)

    def work() -> None:
        os.environ["HOME"] = str(directory.parent)  # W&B keeps tables there, too
        hook()
        running.run(chosen, directory)

    return in_a_new_process(work)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    directory = tmp_path_factory.mktemp("kept") / "run"
    assert carry_out(directory, "trainer.log_every_n_steps=2") == 0
    settings, records = settings_of(*WANDB, "trainer.log_every_n_steps=2"), records_in(directory)
    results = results_in(directory)
    assert len(results.epochs) == 3
    return Kept(directory, settings, results, history_of(records), summary_of(records))


def test_every_metric_that_is_promised_is_there_and_no_other(kept: Kept) -> None:
    curves = filled(promised("Curves"), kept.metrics)
    assert {key for row in kept.rows for key in row} - INTERNAL == curves | answers_of(kept)
    with (kept.directory / "csv" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert set(next(csv.reader(file))) == curves | {"step"}


def answers_of(kept: Kept) -> set[str]:
    """The images and tables that are promised for these tasks."""
    names = promised("W&B: answers")
    found = {name.replace("TASK", task) for name in names for task in kept.metrics}
    assert len(found) == 4
    return found


def test_every_row_says_where_training_stood(kept: Kept) -> None:
    parts = assemble(kept.settings)
    plans = [parts.datamodule.plan(epoch) for epoch in (1, 2, 3)]
    sizes = [step.examples for plan in plans for step in plan.steps]
    examples = [0, *itertools.accumulate(sizes)]
    steps = len(plans[0].steps)
    rows = [row for row in kept.rows if "progress/epoch" in row]
    assert [row for row in kept.rows if row not in rows and not is_answers(row)] == []
    assert len(rows) > len(plans)
    for row in rows:
        step = row[loggers.STEP]
        assert row["progress/epoch"] == pytest.approx(step / steps)
        assert row["progress/examples"] == examples[step]
    seconds = [row["progress/seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert seconds[-1] == pytest.approx(sum(epoch.seconds for epoch in kept.results.epochs))


def is_answers(row: Row) -> bool:
    return any(key.startswith("answers/") for key in row)


def test_epochs_say_what_they_took_and_used(kept: Kept) -> None:
    rows = [row for row in kept.rows if "time/epoch_seconds" in row]
    assert len(rows) == len(kept.results.epochs)
    for row, epoch in zip(rows, kept.results.epochs, strict=True):
        examples = sum(phase.examples for phase in epoch.phases)
        assert row["time/examples_per_second"] == pytest.approx(examples / epoch.seconds)
        assert row["dev/score"] == epoch.score
    for task, used in kept.results.utilisation.items():
        size = kept.results.data.sizes[task]["train"]
        last = {name.split("/")[1]: v for name, v in rows[-1].items() if name.endswith(task)}
        assert last["examples"] == used.examples
        assert last["fraction"] == used.fraction
        assert last["effective_epochs"] == used.examples / size


def test_the_summary_is_the_best_epochs(kept: Kept) -> None:
    promise = filled(promised("W&B: summary"), kept.metrics)
    results, summary = kept.results, kept.summary
    last_values = {key for row in kept.rows for key in row if not key.startswith("dev/")}
    assert set(summary) - last_values - INTERNAL == promise
    assert summary["score"] == summary["dev/score"] == results.score
    assert summary["best_epoch"] == results.best_epoch
    assert summary["last/score"] == results.last.score
    assert summary["minutes_per_epoch"] == results.minutes_per_epoch
    for task, score in results.tasks.items():
        assert summary[f"dev/{task}/{score.metric}"] == score.value
        assert summary[f"last/{task}/{score.metric}"] == results.last.tasks[task].value


def test_answers_are_files_of_the_run(kept: Kept) -> None:
    (files,) = kept.directory.glob("wandb/offline-run-*/files")
    shown = {key: kept.summary[key] for key in answers_of(kept)}
    for key, node in shown.items():
        content = (files / node["path"]).read_bytes()
        assert len(content) == node["size"]
        if key.startswith("answers/mistakes/"):
            table = json.loads(content)
            assert len(table["data"]) == node["nrows"] > 0
            label, prediction = (table["columns"].index(n) for n in ("label", "prediction"))
            assert all(row[label] != row[prediction] for row in table["data"])
            assert all(
                "SYNTHETIC" in row[table["columns"].index("subject")] for row in table["data"]
            )
        else:
            assert content.startswith(b"\x89PNG")


def killed_after(epoch: int) -> Callable[[], None]:
    """Kill a run a moment after an epoch is shown."""
    real = WandbCallback.on_train_epoch_end

    def patched(self: WandbCallback, trainer: Any, module: Any) -> None:
        real(self, trainer, module)
        if module.position.epoch == epoch:
            time.sleep(2 * loggers.FLUSH)
            os.kill(os.getpid(), signal.SIGKILL)

    def prepare() -> None:
        WandbCallback.on_train_epoch_end = patched  # type: ignore[method-assign]

    return prepare


def test_a_killed_run_has_config_summary_and_answers(kept: Kept, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert (
        carry_out(directory, "trainer.log_every_n_steps=2", hook=killed_after(2)) == -signal.SIGKILL
    )
    assert not (directory / "results.json").exists()
    records = records_in(directory)
    assert not any(record.HasField("exit") for record in records)
    assert config_of(records) == kept.settings.config()
    # As the whole run was after its second epoch: the same seed, the same bits.
    rows = [row for row in history_of(records) if "dev/score" in row]
    whole = [row for row in kept.rows if "dev/score" in row]
    assert [row["dev/score"] for row in rows] == [row["dev/score"] for row in whole[:2]]
    best = max(range(2), key=lambda epoch: rows[epoch]["dev/score"])
    summary = summary_of(records)
    assert summary["best_epoch"] == best + 1
    assert summary["score"] == rows[best]["dev/score"]
    assert summary["last/epoch"] == 2
    (files,) = directory.glob("wandb/offline-run-*/files")
    assert all((files / summary[key]["path"]).is_file() for key in answers_of(kept))


def test_answers_are_never_of_a_sample(kept: Kept, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert carry_out(directory, "trainer.log_every_n_steps=2", "trainer.dev_sample=9") == 0
    records, results = records_in(directory), results_in(directory)
    *rows, last = history_of(records)
    assert is_answers(last)
    assert not any(map(is_answers, rows))
    summary = summary_of(records)
    assert answers_of(kept) <= set(summary)
    assert summary["score"] == results.score
    assert summary["dev/examples"] == 70
    killed = tmp_path / "killed"
    ended = carry_out(killed, "trainer.dev_sample=9", hook=killed_after(2))
    assert ended == -signal.SIGKILL
    assert summary_of(records_in(killed))["dev/examples"] == 18


def test_an_untrained_model_has_answers_too(tmp_path: Path) -> None:
    assert carry_out(tmp_path / "run", "sampler=random", "B=null") == 0
    records = records_in(tmp_path / "run")
    (row,) = history_of(records)
    assert is_answers(row)
    assert summary_of(records)["best_epoch"] == 0


def test_nothing_is_drawn_without_it(tmp_path: Path) -> None:
    def work() -> None:
        running.run(settings_of(*SMALL, "B=8"), tmp_path / "run")
        assert {"altair", "vl_convert"} & set(sys.modules) == set()

    assert in_a_new_process(work) == 0
