"""Several processes with a share of each batch are one process with the whole of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_bert.config.settings import ConfigError
from mtl_bert.machine.signals import EXIT_CODE
from mtl_bert.surgery import AveragedRows, distributed
from mtl_bert.surgery.rows import GradientRows
from mtl_bert.training import run as running
from mtl_bert.training.module import MultiTaskModule
from tests.cli.driving import SMALL
from tests.composing import settings_of
from tests.forking import in_a_fork, together
from tests.training.test_interruption import at_step, send

# No dropout, so that processes differ in nothing but their share; float64, so that it shows.
RUN = (
    "task=[sst,qqp,sts]",
    "data.scale=0.0055",
    *(f"tasks.{task}.sources.demo.dev=15" for task in ("sst", "qqp", "sts")),
    "epochs=2",
    "lr=3e-4",
    "model.dropout=0",
    "model.source.settings.hidden_dropout_prob=0.0",
    "model.source.settings.attention_probs_dropout_prob=0.0",
    "trainer.precision=64-true",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.baseline=false",
)
# Without dropout one pass for all tasks is what several are, too.
TOGETHER = "trainer.passes=one"
ONE, TWO = ("batch_size=6",), ("batch_size=3", "trainer.devices=2", TOGETHER)
PARTS = ("batch_size=3", "trainer.accumulate_grad_batches=2", TOGETHER)
WHOLE, BOTH = ("batch_size=8",), ("batch_size=2", "trainer.devices=2", *PARTS[1:])


def keep_weights(directory: Path, rank: int) -> None:
    """Have a process write the weights that it ends with."""

    def keep(self: MultiTaskModule) -> None:
        torch.save(self.state_dict(), directory / f"weights-{rank}.pt")

    MultiTaskModule.on_train_end = keep  # type: ignore[method-assign]


def train(
    directory: Path, *overrides: str, processes: int = 1, hook: Callable[[], None] = lambda: None
) -> list[int]:
    """Carry out a run in so many processes; how they ended."""
    chosen = settings_of(*RUN, *overrides)

    def work(rank: int) -> None:
        distributed.BUCKET = 1000  # of which this model has several, too
        hook()
        keep_weights(directory.parent, rank)
        running.run(chosen, directory)

    if processes == 1:
        return [in_a_fork(lambda: work(0))]
    return together(processes, work)


def weights(directory: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return torch.load(directory.parent / f"weights-{rank}.pt", weights_only=True)


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Relative L2 between two sets of weights."""
    difference = sum(float((a[name] - b[name]).square().sum()) for name in a)
    return (difference / sum(float(a[name].square().sum()) for name in a)) ** 0.5


def results(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "results.json").read_text("utf-8"))


# Batches of 6 or 8 leave ragged ones; vanilla and annealed have steps without some task, and tasks
# with a single row, which only one process has.
SAMPLERS = {
    "rr": (),
    "arrp": ("B=20", "freeze=['encoder.embeddings.*']"),
    "vanilla": ("B=64",),
    "annealed": ("B=64",),
    "full": ("data.scale=0.0005", "epochs=1"),
    "single": ("data.scale=0.0005", "epochs=1"),
    "dev_gap": ("B=64", "++sampler.single={sst: 0.9, qqp: 0.6, sts: 0.2}"),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_shares_and_parts_of_a_batch_are_the_batch(tmp_path: Path, sampler: str) -> None:
    """Each by itself with arrp, which has all kinds of phases; with the others parts of a share."""
    chosen = (f"sampler={sampler}", *SAMPLERS[sampler])
    ways: dict[str, tuple[tuple[str, ...], int]] = {"one": (WHOLE, 1), "both": (BOTH, 2)}
    if sampler == "arrp":
        ways = {"one": (ONE, 1), "two": (TWO, 2), "parts": (PARTS, 1)}
    for name, (how, processes) in ways.items():
        (tmp_path / name).mkdir()
        ended = train(tmp_path / name / "run", *chosen, *how, processes=processes)
        assert ended == [0] * processes
    one = weights(tmp_path / "one" / "run")
    for name, (_, processes) in ways.items():
        first, *others = (weights(tmp_path / name / "run", rank) for rank in range(processes))
        assert distance(one, first) < 1e-12
        assert all(torch.equal(first[key], other[key]) for other in others for key in one)
    recorded = [results(tmp_path / name / "run") for name in ways]
    assert sum(p["steps"] for e in recorded[0]["epochs"] for p in e["phases"]) >= 10
    for other in recorded[1:]:
        assert other["utilisation"] == recorded[0]["utilisation"]
        for ours, theirs in zip(recorded[0]["epochs"], other["epochs"], strict=True):
            assert [p["steps"] for p in ours["phases"]] == [p["steps"] for p in theirs["phases"]]
            assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-10)
            for task, scored in ours["tasks"].items():
                assert theirs["tasks"][task]["n"] == scored["n"] == 15
                assert theirs["tasks"][task]["value"] == pytest.approx(scored["value"], abs=1e-9)


@pytest.mark.parametrize("passes", ["one", "per_task"])
def test_steps_send_while_they_compute(run: Path, passes: str) -> None:
    """When the last backward pass is over, every process has begun with a task or a layer."""
    take, begun = AveragedRows.take, run.parent / "begun"

    def counted(self: AveragedRows) -> GradientRows:
        with begun.open("a") as file:
            file.write(f"{len(self._tasks)} {len(self._sums)}\n")
        return take(self)

    def hook() -> None:
        AveragedRows.take = counted  # type: ignore[method-assign]

    chosen = ("sampler=arrp", "B=20", "epochs=1", *TWO, f"trainer.passes={passes}")
    assert train(run, *chosen, processes=2, hook=hook) == [0, 0]
    steps = [line.split() for line in begun.read_text("utf-8").splitlines()]
    joint = [int(sums) for tasks, sums in steps if tasks == "3"]
    assert len(joint) >= 6
    assert min(joint) > 0


def test_averaging_after_surgery_would_be_seen(tmp_path: Path) -> None:
    """The comparison fails where it must: with each process's surgery on its own rows."""
    from mtl_bert.surgery import LocalRows, surgeon

    class Late(LocalRows):
        stop_requested = False

        def __init__(self, *_: object) -> None:
            super().__init__()

    def alone() -> None:
        surgeon.AveragedRows = Late  # type: ignore[misc,assignment]

    ended = train(tmp_path / "run", "sampler=rr", *TWO, processes=2, hook=alone)
    assert ended == [0, 0]
    apart = distance(weights(tmp_path / "run", 0), weights(tmp_path / "run", 1))
    assert apart > 1e-6


def test_two_processes_go_on_as_two_or_as_one(tmp_path: Path) -> None:
    chosen = ("sampler=arrp", "B=20", "trainer.save_steps=3")
    for name in ("whole", "two", "one"):
        (tmp_path / name).mkdir()
    assert train(tmp_path / "whole" / "run", *chosen, *TWO, processes=2) == [0, 0]
    stop = at_step(8, send(15))
    ended = train(tmp_path / "two" / "run", *chosen, *TWO, processes=2, hook=stop)
    assert ended == [EXIT_CODE, EXIT_CODE]
    shutil.copytree(tmp_path / "two" / "run", tmp_path / "one" / "run")
    assert train(tmp_path / "two" / "run", *chosen, *TWO, processes=2) == [0, 0]
    assert train(tmp_path / "one" / "run", *chosen, *ONE) == [0]
    whole = weights(tmp_path / "whole" / "run")
    again = weights(tmp_path / "two" / "run")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert distance(whole, weights(tmp_path / "one" / "run")) < 1e-12


def test_buckets_and_epochs_that_are_not_scored_are_the_same_in_two_processes(
    tmp_path: Path,
) -> None:
    chosen = ("sampler=rr", "group_by_length=4", "epochs=3", "trainer.check_val_every_n_epoch=2")
    for name, how, processes in (("one", ONE, 1), ("two", TWO, 2)):
        (tmp_path / name).mkdir()
        ended = train(tmp_path / name / "run", *chosen, *how, processes=processes)
        assert ended == [0] * processes
    assert distance(weights(tmp_path / "one" / "run"), weights(tmp_path / "two" / "run")) < 1e-12
    one, two = (results(tmp_path / name / "run")["epochs"] for name in ("one", "two"))
    assert [epoch["score"] is None for epoch in two] == [True, False, False]
    for ours, theirs in zip(one, two, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-10)
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-9)


def test_a_signal_to_one_process_stops_all(run: Path) -> None:
    def work(rank: int) -> None:
        if rank == 1:
            at_step(3, send(15))()
        running.run(settings_of(*RUN, "sampler=rr", *TWO), run)

    assert together(2, work) == [EXIT_CODE, EXIT_CODE]
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["steps"] == 4


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (4, 4)])
def test_other_processes_than_were_started_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int, found: int
) -> None:
    started = {"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2",
               "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1",
               "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    settings = settings_of(*SMALL, f"trainer.devices={wanted}", "trainer.accelerator=cpu")
    with pytest.raises(ConfigError, match=rf"were started \(2\), found {found} .*devices=2"):
        running.run(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
