"""Killed anywhere, a run goes on as if nothing had happened: bit for bit."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from mtl_bert.config.settings import Settings
from mtl_bert.machine.signals import AT_ONCE, EXIT_CODE, SIGNALS
from mtl_bert.training import run as running
from mtl_bert.training import step as step_file
from mtl_bert.training.callbacks import recorder
from mtl_bert.training.module import MultiTaskModule
from tests.composing import settings_of
from tests.forking import in_a_fork

# Everything that could be forgotten: moments, a schedule, a method's memory, dropout, two phases.
DATA = (
    "task=[sst,sts]",
    "data.scale=0.0067",
    "tasks.sst.sources.demo.dev=12",
    "tasks.sts.sources.demo.dev=12",
)
HOW = (
    "epochs=2",
    "batch_size=8",
    "sampler=arrp",
    "B=17",
    "surgery=gradnorm",
    "trainer.passes=one",
    "scheduler=linear",
    "lr=1e-3",
    "trainer.save_steps=3",
    "trainer.log_every_n_steps=3",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)
RUN = (*DATA, *HOW)
KILLED = -signal.SIGKILL
TIMES = ("time/epoch_seconds", "time/examples_per_second", "progress/seconds")


def settings(*overrides: str) -> Settings:
    return settings_of(*(HOW if "data=files" in overrides else RUN), *overrides)


def carry_out(directory: Path, *overrides: str, hook: Callable[[], None] = lambda: None) -> int:
    """Run in another process, which ``hook`` prepares to come to grief."""
    chosen = settings(*overrides)

    def work() -> None:
        hook()
        running.run(chosen, directory)

    return in_a_fork(work)


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def call_at(owner: Any, name: str, number: int, what: Callable[..., None], after: bool) -> None:
    """Have the ``number``-th call of a method do something besides."""
    real, calls = getattr(owner, name), 0

    def patched(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            what(*arguments)
        answer = real(*arguments, **named)
        if calls == number and after:
            what(*arguments)
        return answer

    setattr(owner, name, patched)


def at_step(number: int, what: Callable[..., None] = die) -> Callable[[], None]:
    return lambda: call_at(MultiTaskModule, "training_step", number, what, after=True)


def half_written(number: int) -> Callable[[], None]:
    """Die when half of a checkpoint is on disk."""
    real = torch.save

    def save(content: Any, file: BinaryIO) -> None:
        real(content, file)
        file.truncate(file.tell() // 2)
        die()

    def prepare() -> None:
        calls = 0

        def patched(content: Any, file: BinaryIO) -> None:
            nonlocal calls
            calls += 1
            (save if calls == number else real)(content, file)

        torch.save = patched  # type: ignore[assignment]

    return prepare


def between_renames(number: int) -> Callable[[], None]:
    """Die when the old checkpoint has made room for a new one that is not there yet."""

    def prepare() -> None:
        real, calls = Path.replace, 0

        def patched(path: Path, target: Path) -> Path:
            nonlocal calls
            moved = real(path, target)
            calls += target.name == "previous.ckpt"
            if calls == number:
                die()
            return moved

        Path.replace = patched  # type: ignore[method-assign,assignment]

    return prepare


def left_by(directory: Path) -> dict[str, Any]:
    """Everything that a run leaves but times and where it lies."""
    last = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    best = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)
    results = json.loads((directory / "results.json").read_text("utf-8"))
    metrics = [json.loads(x) for x in (directory / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert metrics == results["epochs"]
    rows = [line.split(",") for line in (directory / "csv" / "metrics.csv").read_text().split()]
    kept = [place for place, name in enumerate(rows[0]) if name not in TIMES]
    assert len(kept) == len(rows[0]) - len(TIMES)
    del last["run_state"], last["run"], best["run"]  # the run's name tells its trainer, too
    for part in (results, *results["epochs"], *(p for e in results["epochs"] for p in e["phases"])):
        for name in ("seconds", "validation_seconds", "minutes_per_epoch", "finished"):
            part.pop(name, None)
    results["config"].pop("trainer")
    files = sorted(
        str(p.relative_to(directory)) for p in directory.rglob("*") if p.name != "previous.ckpt"
    )
    own = {p.name: torch.load(p, weights_only=True) for p in directory.rglob("best-*.ckpt")}
    for weights in own.values():
        del weights["run"]
    return ({"best of tasks": own} if own else {}) | {
        "last": last,
        "best": best,
        "results": results,
        "csv": [[row[place] for place in kept] for row in rows],
        "predictions": [p.read_bytes() for p in sorted((directory / "predictions").iterdir())],
        "files": files,
    }


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        # Bits, so that NaN, which a number has for its confidence, is itself.
        return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def assert_as_if_nothing_had_happened(directory: Path, whole: dict[str, Any]) -> None:
    left = left_by(directory)
    for name, value in whole.items():
        assert same(left[name], value), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that was never stopped."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    assert carry_out(directory) == 0
    left = left_by(directory)
    assert left["results"]["last_epoch"] == 2
    assert [phase["steps"] for phase in left["results"]["epochs"][0]["phases"]] == [5, 3]
    return left


def test_the_comparison_would_see_a_difference(whole: dict[str, Any], tmp_path: Path) -> None:
    assert carry_out(tmp_path / "run", "seed=2") == 0
    left = left_by(tmp_path / "run")
    assert not any(same(left[name], whole[name]) for name in whole if name != "files")


STEPS = 16  # two epochs of five joint steps and three of the largest task alone
RANDOM = sorted(random.Random(4).sample(range(1, STEPS + 1), 6))


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_random_steps_again_and_again(
    whole: dict[str, Any], tmp_path: Path, workers: int
) -> None:
    directory, done, kills = tmp_path / "run", 0, 0
    for step in RANDOM:
        # It goes on from the last checkpoint: after every third step, and after every epoch.
        resumed = max([0, *(n for n in (8, *range(3, 17, 3)) if n < done)])
        ended = carry_out(directory, f"trainer.num_workers={workers}", hook=at_step(step - resumed))
        assert ended == KILLED
        done, kills = step, kills + 1
    assert kills == len(RANDOM)
    assert carry_out(directory, f"trainer.num_workers={workers}") == 0
    assert_as_if_nothing_had_happened(directory, whole)


PARTS = ("model.adapter=pals", "model.pooling=mean", "model.gradient_checkpointing=true")


@pytest.mark.parametrize("parts", [PARTS, ("model.adapter=low_rank", "model.freeze_encoder=true")])
def test_what_is_put_on_an_encoder_goes_on_to_the_bit(
    parts: tuple[str, ...], tmp_path: Path
) -> None:
    assert carry_out(tmp_path / "whole", *parts) == 0
    whole = left_by(tmp_path / "whole")
    assert any(name.startswith("adapters.sst.") for name in whole["last"]["state_dict"])
    assert carry_out(tmp_path / "run", *parts, hook=at_step(5)) == KILLED
    assert carry_out(tmp_path / "run", *parts, hook=at_step(7)) == KILLED
    assert carry_out(tmp_path / "run", *parts) == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "hook",
    [
        *(half_written(number) for number in (1, 2, 3, 4)),
        *(between_renames(number) for number in (1, 5)),
        lambda: call_at(MultiTaskModule, "validation_step", 6, die, after=False),
        lambda: call_at(recorder.Recorder, "keep_best", 1, die, after=True),
        lambda: call_at(recorder.Recorder, "on_train_epoch_end", 1, die, after=True),
        lambda: call_at(recorder.Recorder, "results", 1, die, after=True),
    ],
    ids=[
        *("first half written", "second half written", "best half written", "epoch half written"),
        *("before the second is there", "before the sixth is there"),
        *("in a validation", "after the best is kept", "after an epoch", "before the results"),
    ],
)
def test_killed_at_awkward_moments(
    whole: dict[str, Any], tmp_path: Path, hook: Callable[[], None]
) -> None:
    assert carry_out(tmp_path / "run", hook=hook) == KILLED
    assert carry_out(tmp_path / "run") == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", whole)


def test_a_method_that_looks_at_epochs_goes_on_in_the_middle_of_one(tmp_path: Path) -> None:
    told = ("surgery=dwa", "epochs=3")
    assert carry_out(tmp_path / "whole", *told) == 0
    for number in (4, 17):  # steps from where it goes on: amid the first epoch, amid the third
        assert carry_out(tmp_path / "run", *told, hook=at_step(number)) == KILLED
    assert carry_out(tmp_path / "run", *told) == 0
    whole = left_by(tmp_path / "whole")
    assert_as_if_nothing_had_happened(tmp_path / "run", whole)
    memory = whole["last"]["surgeon"]["memory"]
    assert memory["last sst"] / memory["older sst"] != memory["last sts"] / memory["older sts"]


LABELS, WORDS = ("sst2", "cola", "sst"), ("the", "film", "was", "fine", "poor", "and", "not")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], dict[str, Any]]:
    """A run on three labels of one file's texts, some of them missing; each task's best is kept."""
    place, draw = tmp_path_factory.mktemp("labels"), random.Random(1)
    for split, count in (("train", 60), ("dev", 40)):
        rows = [
            {"text": " ".join(draw.choices(WORDS, k=9))}
            | {t: None if draw.random() < 0.1 else draw.randint(0, 1) for t in LABELS}
            for _ in range(count)
        ]
        (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = "{{train: train.jsonl, dev: dev.jsonl, text: [text], label: {task}, blanks: true}}"
    told = (
        f"task=[{','.join(LABELS)}]", "data=files", f"data.dir={place}",
        "sampler=rr", "B=40", "epochs=4", "lr=3e-3",
        "trainer.passes=per_task", "trainer.best_per_task=true",
        *(f"++tasks.{task}.sources.files={own.format(task=task)}" for task in LABELS),
    )  # fmt: skip
    assert carry_out(place / "run", *told) == 0
    return told, left_by(place / "run")


@pytest.mark.parametrize(
    "hook",
    [
        at_step(13),  # amid the third epoch
        lambda: call_at(recorder.Recorder, "_keep_best_of_tasks", 2, die, after=True),
        lambda: call_at(step_file, "sharing", 11, die, after=True),
    ],
    ids=["amid an epoch", "after the best of tasks are kept", "amid a step"],
)
def test_labels_of_the_same_texts_and_each_tasks_best_go_on(
    labels: tuple[tuple[str, ...], dict[str, Any]], tmp_path: Path, hook: Callable[[], None]
) -> None:
    told, whole = labels
    best = whole["results"]["best_of_tasks"]
    assert len({found["epoch"] for found in best.values()}) > 1  # or this shows little
    assert set(whole["best of tasks"]) == {f"best-{task}.ckpt" for task in LABELS}
    assert carry_out(tmp_path / "run", *told, hook=hook) == KILLED
    assert carry_out(tmp_path / "run", *told) == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "told",
    [
        ("sampler=two_stage", "sampler.then=unimax"),
        ("sampler=dev_gap", "++sampler.single={sst: 0.9, sts: 0.2}", "++tasks.sst.balance=classes"),
    ],
    ids=["stages", "history"],
)
def test_what_begins_anew_or_looks_back_goes_on(tmp_path: Path, told: tuple[str, ...]) -> None:
    """Two stages have an optimizer and a schedule each; a history decides the later plans."""
    told += ("epochs=3",)
    assert carry_out(tmp_path / "whole", *told) == 0
    whole = left_by(tmp_path / "whole")
    for number in (2, 8):
        assert carry_out(tmp_path / "run", *told, hook=at_step(number)) == KILLED
    assert carry_out(tmp_path / "run", *told) == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", whole)
    epochs, history = whole["results"]["epochs"], whole["last"]["history"]
    assert [{task: seen[0] for task, seen in of.items()} for of in history] == [
        {task: score["value"] for task, score in epoch["tasks"].items()} for epoch in epochs
    ]
    if "sampler=dev_gap" in told:
        counts = [set(epoch["classes"]["sst"].values()) for epoch in epochs]
        assert all(max(found) - min(found) <= 1 for found in counts)


def send(*signals: int) -> Callable[..., None]:
    def sender(*_: Any) -> None:
        for number in signals:
            os.kill(os.getpid(), number)

    return sender


@pytest.mark.parametrize(
    ("number", "step"),
    [(signal.SIGTERM, 3), (signal.SIGUSR1, 8), (signal.SIGINT, 12), (signal.SIGHUP, 12)],
)
def test_asked_to_stop_it_saves_and_says_so(
    whole: dict[str, Any], tmp_path: Path, number: int, step: int
) -> None:
    if number not in SIGNALS:
        pytest.skip("these tests run under nohup")
    directory, hook = tmp_path / "run", at_step(step, send(number))
    assert carry_out(directory, "trainer.save_steps=null", hook=hook) == EXIT_CODE
    saved = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    # A signal in a step is answered at the end of the next one, or in the validation before it.
    assert saved["steps"] == (step if step == 8 else step + 1)
    assert not (directory / "results.json").exists()
    assert carry_out(directory) == 0
    assert_as_if_nothing_had_happened(directory, whole)


EVERY = ("epochs=4", "trainer.check_val_every_n_epoch=2", "trainer.save_steps=4")


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that was never stopped and whose dev sets are not scored after every epoch."""
    directory = tmp_path_factory.mktemp("sparse") / "run"
    assert carry_out(directory, *EVERY) == 0
    left = left_by(directory)
    scored = [e["epoch"] for e in left["results"]["epochs"] if e["score"] is not None]
    assert scored == [2, 4]
    return left


# The third epoch's eighth and last step is the 24th.
@pytest.mark.parametrize(
    ("hook", "ended", "position"),
    [
        (at_step(24), KILLED, (3, 4)),
        (at_step(24, send(signal.SIGTERM)), EXIT_CODE, (4, 1)),
        (at_step(23, send(signal.SIGTERM)), EXIT_CODE, (3, 8)),
        (
            lambda: call_at(recorder.Recorder, "record_epoch", 3, die, after=False),
            KILLED,
            (3, 8),
        ),
        (
            lambda: call_at(recorder.Recorder, "record_epoch", 3, die, after=True),
            KILLED,
            (3, 8),
        ),
        (
            lambda: call_at(recorder.Recorder, "on_train_epoch_end", 3, die, after=True),
            KILLED,
            (4, 0),
        ),
        (lambda: call_at(MultiTaskModule, "validation_step", 6, die, after=False), KILLED, (4, 8)),
        (at_step(3), KILLED, None),
    ],
    ids=[
        *("in the last step", "asked in the last step", "asked before the last step"),
        *("before the epoch is recorded", "before the epoch is saved", "after the epoch"),
        *("in the second validation", "before the first checkpoint"),
    ],
)
def test_stopped_at_the_end_of_an_epoch_that_is_not_scored(
    sparse: dict[str, Any],
    tmp_path: Path,
    hook: Callable[[], None],
    ended: int,
    position: tuple[int, int] | None,
) -> None:
    directory = tmp_path / "run"
    assert carry_out(directory, *EVERY, hook=hook) == ended
    last = directory / "checkpoints" / "last.ckpt"
    found = torch.load(last, weights_only=True)["position"] if last.exists() else None
    assert found == position
    assert carry_out(directory, *EVERY) == 0
    assert_as_if_nothing_had_happened(directory, sparse)


def test_asked_before_training_it_stops_and_begins_anew(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    def hook() -> None:
        call_at(MultiTaskModule, "validation_step", 1, send(signal.SIGTERM), after=False)

    assert carry_out(tmp_path / "run", hook=hook) == EXIT_CODE
    assert carry_out(tmp_path / "run") == 0
    assert_as_if_nothing_had_happened(tmp_path / "run", whole)


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    hook = at_step(5, send(signal.SIGINT, signal.SIGINT))
    assert carry_out(tmp_path / "run", hook=hook) == AT_ONCE
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["steps"] == 3


def test_a_step_that_is_not_finite_is_skipped_and_counted_also_after_a_kill(tmp_path: Path) -> None:
    bad = (3, 4)

    def poison() -> None:
        real, seeded, now = step_file.task_loss, step_file.seed_dropout, 0

        def seed(seed: int, epoch: int, step: int, rank: int) -> None:
            nonlocal now
            now = step
            seeded(seed, epoch, step, rank)

        def loss(model: Any, task: str, batch: Any, *outputs: Any) -> Any:
            value = real(model, task, batch, *outputs)
            return value * float("nan") if now in bad and task == "sts" else value

        step_file.seed_dropout, step_file.task_loss = seed, loss

    def poison_and_die() -> None:
        poison()
        at_step(8)()

    for name, hook in (("whole", poison), ("killed", poison_and_die)):
        assert carry_out(tmp_path / name, hook=hook) in (0, KILLED)
    assert carry_out(tmp_path / "killed", hook=poison) == 0
    whole, killed = left_by(tmp_path / "whole"), left_by(tmp_path / "killed")
    assert same(whole, killed)
    skipped = whole["results"]["skipped"]
    assert [(s["epoch"], s["step"]) for s in skipped] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert [(list(s["rows"]), len(s["rows"]["sts"])) for s in skipped[:2]] == [
        (["sts"], 8),
        (["sts"], 8),
    ]
    assert "4 steps were skipped" in " ".join(whole["results"]["notes"])


def test_a_run_that_diverges_leaves_the_weights_before_it_did(tmp_path: Path) -> None:
    def poison() -> None:
        real, take, now = step_file.task_loss, MultiTaskModule.training_step, 0

        def loss(model: Any, task: str, batch: Any, *outputs: Any) -> Any:
            return real(model, task, batch, *outputs) * (float("nan") if now >= 10 else 1.0)

        def training_step(self: MultiTaskModule, step: Any, index: int) -> None:
            nonlocal now
            now = self.steps
            if now == 10:
                torch.save(self.model.state_dict(), tmp_path / "before.pt")
            take(self, step, index)

        step_file.task_loss = loss
        MultiTaskModule.training_step = training_step  # type: ignore[method-assign]

    assert carry_out(tmp_path / "run", "trainer.skip_limit=3", hook=poison) == 1
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (saved["steps"], saved["position"]) == (13, (2, 5))
    assert same(saved["state_dict"], torch.load(tmp_path / "before.pt", weights_only=True))
    assert not (tmp_path / "run" / "results.json").exists()
