"""Memory that does not suffice ends a run in a line, and the run goes on with smaller parts."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtl_bert.data.batch import Batch
from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling import Phase, Step
from mtl_bert.sampling.loader import Part, PlanStep
from mtl_bert.training import run as running
from mtl_bert.training.out_of_memory import OutOfMemory, OutOfMemoryError
from tests.composing import settings_of
from tests.factories import assert_tells
from tests.forking import in_a_fork
from tests.training.test_processes import RUN, distance, results, train, weights

FULL = (
    "CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 79.19 GiB of "
    "which 300.12 MiB is free. Including non-PyTorch memory, this process has 78 GiB in use."
)


def step_of(**lengths: list[list[int]]) -> PlanStep[Batch]:
    """A step whose tasks have batches of sequences of such lengths."""
    tasks = {
        task: [
            Part(
                Batch.of(np.array(b), np.zeros(sum(b), np.int64), None, None, np.arange(len(b))),
                1.0,
            )
            for b in batches
        ]
        for task, batches in lengths.items()
    }
    return PlanStep(1, 0, Step(Phase("rr"), {}), tasks)


STEP = step_of(a=[[3, 9], [5]], b=[[4, 70]])


def raised_by(guard: Any, error: Exception) -> str:
    with pytest.raises(OutOfMemoryError) as raised, guard:
        raise error
    return str(raised.value)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "advice"),
    [
        (8, 1, "write batch_size=4 trainer.accumulate_grad_batches=2, which"),
        (8, 3, "write batch_size=4 trainer.accumulate_grad_batches=6, which"),
        (9, 1, "write batch_size=3 trainer.accumulate_grad_batches=3, which"),
        (7, 2, "write batch_size=1 trainer.accumulate_grad_batches=14, which"),
        (2, 1, "write batch_size=1 trainer.accumulate_grad_batches=2, which"),
    ],
)
def test_a_step(batch_size: int, accumulate: int, advice: str) -> None:
    message = raised_by(
        OutOfMemory(batch_size, accumulate, 64).in_step(STEP), torch.OutOfMemoryError(FULL)
    )
    assert_tells(
        message,
        f"batch_size={batch_size}: expected room for a step of rr",
        "(2 of b at once, the longest of 70 tokens)",
        "the GPU's memory full (needed 512.00 MiB more, 79.19 GiB in all)",
        advice,
    )
    assert len(message) < 500


@pytest.mark.parametrize(
    ("own", "advice"),
    [
        (12, "write batch_size=4 tasks.a.batch_size=6 trainer.accumulate_grad_batches=2, which"),
        (3, "write batch_size=4 hydra.run.dir=ANOTHER"),
    ],
)
def test_a_task_s_own_batch_is_split_too(own: int, advice: str) -> None:
    guard = OutOfMemory(8, 1, 64, {"a": own}).in_step(STEP)
    assert_tells(raised_by(guard, torch.OutOfMemoryError(FULL)), advice)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_one_pass_for_all_tasks_is_what_goes_first(batch_size: int) -> None:
    guard = OutOfMemory(batch_size, 1, 64).in_step(STEP, one_pass=True)
    message = raised_by(guard, torch.OutOfMemoryError(FULL))
    assert_tells(message, "(2 of each of 2 tasks at once, the longest of 70 tokens)")
    assert message.endswith(
        "write trainer.passes=per_task, which trains the same but for dropout's masks"
    )
    alone = OutOfMemory(8, 1, 64).in_step(step_of(a=[[3, 9]]), one_pass=True)
    assert_tells(raised_by(alone, torch.OutOfMemoryError(FULL)), "(2 of a at once", "batch_size=4")


def test_a_validation() -> None:
    message = raised_by(OutOfMemory(8, 1, 64).in_validation(STEP), torch.OutOfMemoryError(FULL))
    assert_tells(
        message, "trainer.eval_batch_size=64: expected room for a validation",
        "write trainer.eval_batch_size=32, which",
    )  # fmt: skip


def test_one_example_can_only_be_cut() -> None:
    message = raised_by(
        OutOfMemory(1, 8, 64).in_step(step_of(a=[[70]])), torch.OutOfMemoryError("full")
    )
    assert_tells(message, "the GPU's memory full; write model.max_length=35 hydra.run.dir=ANOTHER")


def test_what_a_cpu_says_is_understood() -> None:
    with pytest.raises(OutOfMemoryError) as raised, OutOfMemory(8, 1, 64).in_step(STEP):
        torch.empty(2**55, dtype=torch.uint8)
    needed = f"needed {2**35:,} MiB more"
    assert_tells(raised.value, "the machine's memory full", needed, "GiB in all", "batch_size=4")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    for guard in (OutOfMemory(8, 1, 64).in_step(STEP), OutOfMemory(8, 1, 64).in_validation(STEP)):
        with pytest.raises(type(error)) as raised, guard:
            raise error
        assert raised.value is error


# A run that comes to grief in its seventh step, after the checkpoint of the sixth.


def fill_memory(number: int, training: bool = True) -> Callable[[], None]:
    """Have a call of the model fail as on a GPU that is full."""

    def prepare() -> None:
        real, calls = MultiTaskModel.forward, 0

        def forward(self: MultiTaskModel, task: str, batch: Batch) -> torch.Tensor:
            nonlocal calls
            calls += self.training == training
            if calls == number and self.training == training:
                raise torch.OutOfMemoryError(FULL)
            return real(self, task, batch)

        MultiTaskModel.forward = forward  # type: ignore[method-assign]

    return prepare


CHOSEN = (
    "data.scale=0.0075",
    "trainer.passes=per_task",
    "sampler=arrp",
    "B=20",
    "trainer.save_steps=3",
)


def told(directory: Path, *overrides: str, hook: Callable[[], None]) -> str:
    """The line with which a run ends."""
    said = directory.parent / "said"

    def work() -> None:
        hook()
        logging.disable()
        try:
            running.run(settings_of(*RUN, *CHOSEN, *overrides), directory)
        except OutOfMemoryError as error:
            said.write_text(str(error), "utf-8")

    assert in_a_fork(work) == 0
    return said.read_text("utf-8")


@pytest.mark.parametrize(
    "going_on",
    [
        ("batch_size=3", "trainer.accumulate_grad_batches=2"),
        ("batch_size=1", "trainer.accumulate_grad_batches=6"),
    ],
)
def test_the_run_goes_on_in_smaller_parts(tmp_path: Path, going_on: tuple[str, ...]) -> None:
    for name in ("whole", "full"):
        (tmp_path / name).mkdir()
    assert train(tmp_path / "whole" / "run", *CHOSEN, "batch_size=6") == [0]
    full = tmp_path / "full" / "run"
    message = told(full, "batch_size=6", hook=fill_memory(20))  # three of each joint step
    assert message.startswith("batch_size=6: expected room for a step of rr (6 of qqp at once")
    assert message.endswith(
        "write batch_size=3 trainer.accumulate_grad_batches=2, which trains the same"
    )
    saved = torch.load(full / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["steps"] == 6
    assert train(full, *CHOSEN, *going_on) == [0]
    assert distance(weights(tmp_path / "whole" / "run"), weights(full)) < 1e-12
    ours, theirs = (results(tmp_path / name / "run")["epochs"] for name in ("whole", "full"))
    for a, b in zip(ours, theirs, strict=True):
        assert a["losses"] == pytest.approx(b["losses"], rel=1e-10)


def test_a_validation_that_does_not_fit(tmp_path: Path) -> None:
    run = tmp_path / "run"
    message = told(run, "trainer.eval_batch_size=8", hook=fill_memory(3, training=False))
    assert message.startswith("trainer.eval_batch_size=8: expected room for a validation (")
    assert message.endswith("write trainer.eval_batch_size=4, which scores the same")
    assert train(run, *CHOSEN, "trainer.eval_batch_size=4") == [0]
