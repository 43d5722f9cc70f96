"""python -m mtl_bert.train resume=DIR, and a job that is started again."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from mtl_bert.__main__ import main
from mtl_bert.config.settings import ConfigError
from mtl_bert.training.callbacks.recorder import Recorder
from mtl_bert.training.resume import check_changes
from tests.cli.driving import SMALL, Command, program, results_in, start
from tests.cli.test_wrong_values import refused
from tests.composing import settings_of
from tests.forking import in_a_fork
from tests.training.test_interruption import KILLED, at_step, call_at, die, left_by, same, send

LONG = (*SMALL, "sampler=arrp", "B=24", "epochs=2", "trainer.save_steps=2")


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was asked to stop in its second epoch."""
    run = tmp_path_factory.mktemp("stopped") / "run"

    def work() -> None:
        at_step(10, send(signal.SIGTERM))()
        main(["train", *LONG, f"hydra.run.dir={run}"])

    assert in_a_fork(work) == 75
    assert not (run / "results.json").exists()
    return run


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy of it to go on with."""
    return shutil.copytree(stopped_once, tmp_path / "run")


def test_it_goes_on_with_the_settings_that_it_had(stopped: Path, command: Command) -> None:
    outcome = command("train", f"resume={stopped}")
    assert outcome.code == 0, outcome.err
    assert "resuming from epoch 2" in (stopped / "train.log").read_text("utf-8")
    results = results_in(stopped)
    assert (results.last_epoch, results.config["B"]) == (2, 24)


def test_the_same_command_goes_on(stopped: Path, command: Command) -> None:
    outcome = command("train", *LONG, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert results_in(stopped).last_epoch == 2


def test_what_decides_nothing_may_change(stopped: Path, command: Command) -> None:
    outcome = command(
        "train", f"resume={stopped}", "logger=tensorboard", "trainer.num_workers=2", "epochs=3",
        "trainer.save_minutes=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    results = results_in(stopped)
    assert (results.last_epoch, results.config["trainer"]["num_workers"]) == (3, 2)
    assert list(stopped.glob("tensorboard/events*"))


def test_a_finished_run_can_have_more_epochs(
    tmp_path: Path, command: Command, trained: Path
) -> None:
    shutil.copytree(trained, tmp_path / "more")
    before = results_in(trained)
    outcome = command("train", "resume=more", "epochs=3")
    assert outcome.code == 0, outcome.err
    after = results_in(tmp_path / "more")
    assert [e.score for e in after.epochs[:2]] == [e.score for e in before.epochs]
    assert after.last_epoch == 3
    # The command line that made a run is in its results, and what was given later after it.
    assert before.overrides == [*SMALL, "epochs=2", "B=16"]
    assert after.overrides == [*before.overrides, "epochs=3"]
    assert "overrides" not in after.config


def test_loggers_that_are_chosen_anew_are_all_there_are(
    tmp_path: Path, command: Command, trained: Path
) -> None:
    shutil.copytree(trained, tmp_path / "more")
    for epochs, chosen, kept in (
        (3, "logger=tensorboard", ["tensorboard"]),
        (4, "logger=[]", []),
    ):
        outcome = command("train", "resume=more", f"epochs={epochs}", chosen)
        assert outcome.code == 0, outcome.err
        assert list(results_in(tmp_path / "more").config["logger"]) == kept


def test_half_a_row_of_curves_keeps_no_run_from_going_on(
    tmp_path: Path, command: Command, trained: Path
) -> None:
    shutil.copytree(trained, tmp_path / "more")
    curves = tmp_path / "more" / "csv" / "metrics.csv"
    lines = curves.read_text("utf-8").splitlines(keepends=True)
    curves.write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2], "utf-8")
    outcome = command("train", "resume=more", "epochs=3")
    assert outcome.code == 0, outcome.err
    assert curves.read_text("utf-8").startswith("".join(lines[:1])[:10])


def test_a_finished_run_that_was_killed_amid_more_epochs_goes_on(
    tmp_path: Path, command: Command, trained: Path
) -> None:
    shutil.copytree(trained, tmp_path / "more")
    chosen = ["train", "resume=more", "epochs=3", "trainer.save_steps=1"]

    def work() -> None:
        at_step(2)()
        command(*chosen)

    assert in_a_fork(work) == KILLED
    # Old scores do not stand beside new weights.
    refusal = command("predict", "more", "--task", "sst", "--text", "fine")
    assert refusal.code == 2
    assert "found one that has not ended in more; write mtl-bert train resume" in refusal.err
    outcome = command(*chosen)
    assert outcome.code == 0, outcome.err
    assert results_in(tmp_path / "more").last_epoch == 3
    again = command("train", "resume=more", "epochs=2")
    refused(
        again.code, again.err, "epochs: expected at least 3|has finished|found 2|write epochs=3"
    )


@pytest.mark.parametrize("resume", [False, True])
def test_a_command_that_has_finished_is_answered_with_its_results(
    tmp_path: Path, command: Command, trained: Path, resume: bool
) -> None:
    """Schedulers start jobs again that had ended well."""
    shutil.copytree(trained, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    same = [*SMALL, "epochs=2", "B=16", "hydra.run.dir=run", "trainer.num_workers=2"]
    outcome = command("train", *(["resume=run"] if resume else same))
    assert (outcome.code, outcome.err) == (0, "already finished: nothing to do\n")
    assert f"{results_in(trained).score:.3f}" in outcome.out
    assert "run written to" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_damaged_results_are_refused(tmp_path: Path, command: Command, trained: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text("{")
    outcome = command("train", "resume=run")
    refused(outcome.code, outcome.err, "results.json: expected the results of a run|found|write")


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("all", {"last.ckpt", "previous.ckpt", "best.ckpt"}),
        ("best", {"best.ckpt"}),
        ("none", set()),
    ],
)
def test_what_a_finished_run_keeps(
    keep: str, kept: set[str], stopped: Path, command: Command
) -> None:
    outcome = command("train", f"resume={stopped}", f"trainer.keep={keep}")
    assert outcome.code == 0, outcome.err
    assert {path.name for path in stopped.glob("checkpoints/*")} == kept
    if keep != "all":
        before = (stopped / "results.json").read_bytes()
        outcome = command("train", f"resume={stopped}", "epochs=3")
        refused(
            outcome.code, outcome.err,
            f"epochs: expected at most 2|trainer.keep={keep}|found 3|hydra.run.dir=ANOTHER",
        )  # fmt: skip
        assert (stopped / "results.json").read_bytes() == before


CHANGES = {
    "batch_size=16": "batch_size: expected 8, with which the run began|found 16|leave it out",
    "trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches: expected 1|found 2",
    "trainer.devices=2": "trainer.devices: expected 1|found 2",
    "B=16": "B: expected 24|found 16",
    "lambda=0.1": "lambda: expected 0.5|found 0.1",
    "seed=2": "seed: expected 1|found 2",
    "lr=1": "lr: expected|found 1",
    "data.scale=0.1": "data.source.scale: expected 0.005|found 0.1",
    "sampler=rr": "sampler.name: expected 'arrp'|found 'rr'",
    "surgery=none": "surgery.method.include_self: expected True|found 'nothing'",
    "scheduler=linear": "scheduler.name: expected|found 'linear'",
    "tasks.sst.sources.demo.dev=41": "tasks.sst.sources.demo.dev: expected 40|found 41",
    "trainer.precision=64-true": "trainer.precision: expected '32-true'|found '64-true'",
    "trainer.gradient_clip_val=1": "trainer.gradient_clip_val: expected None|found 1",
    "freeze=all_but_head": "freeze: expected 'none'|found 'all_but_head'",
    "group_by_length=20": "group_by_length: expected None, with which the run began|found 20",
    "trainer.check_val_every_n_epoch=2": "trainer.check_val_every_n_epoch: expected 1|found 2",
    "trainer.dev_sample=9": "trainer.dev_sample: expected 2000, with which|found 9",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_the_run_may_not(change: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_changes(settings_of(*LONG), settings_of(*LONG, change))
    for part in CHANGES[change].split("|"):
        assert part in str(refusal.value)


def test_a_split_step_needs_own_batch_sizes_split_too() -> None:
    began = settings_of(*LONG, "sampler=rr", "+tasks.sst.batch_size=16")
    half = began.batch_size // 2
    split = (*LONG, "sampler=rr", f"batch_size={half}", "trainer.accumulate_grad_batches=2")
    check_changes(began, settings_of(*split, "+tasks.sst.batch_size=8"))
    with pytest.raises(ConfigError, match=r"expected 16 examples of it in a step.*found 32"):
        check_changes(began, settings_of(*split, "+tasks.sst.batch_size=16"))
    with pytest.raises(ConfigError, match=r"tasks\.sst\.batch_size: expected 16"):
        check_changes(began, settings_of(*split))


def test_a_refused_change_leaves_all_as_it_was(stopped: Path, command: Command) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    outcome = command("train", f"resume={stopped}", "epochs=1")
    refused(outcome.code, outcome.err, "epochs: expected at least 2, which the run has begun")
    outcome = command("train", *LONG, "batch_size=16", "hydra.run.dir=run")
    refused(outcome.code, outcome.err, CHANGES["batch_size=16"])
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_a_run_that_was_saved_with_an_old_name_is_told_the_new_one(
    stopped: Path, command: Command
) -> None:
    text = (stopped / "config.yaml").read_text("utf-8")
    (stopped / "config.yaml").write_text(text + "bucket: 20\n", "utf-8")
    refusal = command("train", "resume=run")
    refused(refusal.code, refusal.err, "bucket: expected a known setting|write group_by_length")


def test_a_bucketed_run_says_so_and_goes_on_exactly(tmp_path: Path, command: Command) -> None:
    chosen = [*LONG, "group_by_length=50"]
    assert command("train", *chosen, "hydra.run.dir=whole").code == 0

    def work() -> None:
        at_step(10, send(signal.SIGTERM))()
        raise SystemExit(command("train", *chosen, "hydra.run.dir=run").code)

    assert in_a_fork(work) == 75
    refusal = command("train", "resume=run", "group_by_length=20")
    refused(
        refusal.code, refusal.err, "group_by_length: expected 50, with which the run began|found 20"
    )
    outcome = command("train", "resume=run")
    assert outcome.code == 0, outcome.err
    assert "group_by_length=50: examples of like length share a batch" in " ".join(
        outcome.out.split()
    )
    whole, again = left_by(tmp_path / "whole"), left_by(tmp_path / "run")
    for name, value in whole.items():
        assert same(again[name], value), name
    assert [n for n in whole["results"]["notes"] if n.startswith("group_by_length=50: ")]
    assert command("train", *LONG, "hydra.run.dir=plain").code == 0
    plain = left_by(tmp_path / "plain")
    assert not [n for n in plain["results"]["notes"] if "group_by_length" in n]
    assert plain["results"]["utilisation"] == whole["results"]["utilisation"]
    assert not same(plain["last"]["state_dict"], whole["last"]["state_dict"])


def test_a_run_does_not_end_with_an_epoch_that_was_not_scored(
    tmp_path: Path, command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = [
        *SMALL,
        "sampler=rr",
        "epochs=4",
        "trainer.check_val_every_n_epoch=3",
        "hydra.run.dir=run",
    ]

    def work() -> None:
        call_at(Recorder, "on_train_epoch_end", 2, die, after=True)
        command("train", *chosen)

    assert in_a_fork(work) == KILLED
    capfd.readouterr()
    refusal = command("train", "resume=run", "epochs=2")
    refused(
        refusal.code,
        refusal.err,
        "epochs: expected one after which the dev sets are scored|found 2|write epochs=3",
    )
    assert command("train", "resume=run", "epochs=5").code == 0
    epochs = results_in(tmp_path / "run").epochs
    assert [e.epoch for e in epochs if e.score is not None] == [3, 5]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("scheduler=linear", "epochs: expected 2|as scheduler=linear goes by their number|found 3"),
        ("sampler=annealed", "epochs: expected 2|as sampler=annealed draws by their|found 3"),
    ],
)
def test_more_epochs_where_the_old_number_was_counted_on(
    tmp_path: Path, command: Command, chosen: str, message: str
) -> None:
    arguments = [*SMALL, "epochs=2", chosen, *(["B=80"] if "annealed" in chosen else [])]
    assert command("train", *arguments, "hydra.run.dir=run").code == 0
    outcome = command("train", "resume=run", "epochs=3")
    refused(outcome.code, outcome.err, message)


def test_other_data_are_refused(
    stopped: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtl_bert.training.datamodule import PlanDataModule

    monkeypatch.setattr(PlanDataModule, "digest", lambda self: "others")
    outcome = command("train", f"resume={stopped}")
    refused(outcome.code, outcome.err, "data: expected the training sets with which|found others")


def test_a_damaged_checkpoint_gets_a_line_and_the_one_before_is_used(
    stopped: Path, command: Command
) -> None:
    last = stopped / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    outcome = command("train", f"resume={stopped}")
    assert outcome.code == 0
    (line,) = [x for x in outcome.err.splitlines() if "expected a checkpoint" in x]
    assert str(last) in line
    assert results_in(stopped).last_epoch == 2


@pytest.mark.parametrize("given", ["resume=gone", "resume=."])
def test_a_directory_without_a_run(command: Command, tmp_path: Path, given: str) -> None:
    outcome = command("train", given)
    refused(outcome.code, outcome.err, "resume: expected the directory of a run|found no config")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_work_on_one_run(stopped: Path, command: Command) -> None:
    from filelock import FileLock

    with FileLock(stopped / ".lock"):
        outcome = command("train", f"resume={stopped}")
    refused(outcome.code, outcome.err, "expected a run that nobody is working on|found|write")


def test_a_signal_from_outside(tmp_path: Path) -> None:
    arguments = [*LONG, "epochs=400", "trainer.save_steps=null", "hydra.run.dir=run"]
    started = start("train", *arguments, cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started.process.pid is not None
    os.kill(started.process.pid, signal.SIGTERM)
    ended = started.end()
    assert ended.code == 75, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("stopped by SIGTERM after ")
    assert ended.err.splitlines()[-1].endswith(
        "write resume=" + str(tmp_path / "run") + " to go on"
    )
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["steps"] > 0


def test_two_processes_from_one_command(tmp_path: Path) -> None:
    """What both refuse is one line here."""
    two = [*SMALL, "trainer.devices=2", "batch_size=4", "hydra.run.dir=run"]
    outcome = program("train", *two, "freeze=[nope]", cwd=tmp_path)
    refused(outcome.code, outcome.err, "freeze: expected patterns|found 'nope'|write")
    outcome = program("train", *two, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("run written to") == 1
    assert results_in(tmp_path / "run").epochs[0].tasks["sst"].n == 40
