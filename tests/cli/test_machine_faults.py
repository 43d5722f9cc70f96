"""What the machine would not do is told in one line, nothing is left by halves, and it goes on."""

import errno
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mtl_bert.__main__ import main
from mtl_bert.config.command_line import compose
from mtl_bert.training import run as running
from tests.cli.driving import SMALL, Command, results_in, tree
from tests.cli.test_wrong_values import refused
from tests.forking import at_once
from tests.training.test_interruption import at_step

RUN = (*SMALL, "sampler=rr", "trainer.save_steps=2", "hydra.run.dir=run")


def full(name: str) -> Callable[[], None]:
    """A disk that is full when a file of that name gets its place."""

    def prepare() -> None:
        real = Path.replace

        def replace(source: Path, target: Path) -> Path:
            if target.name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
            return real(source, target)

        Path.replace = replace  # type: ignore[method-assign,assignment]

    return prepare


def limited() -> None:
    """Files may have 10 kB: less than a checkpoint, more than everything before it."""
    at_step(1, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)))()


def killed() -> None:
    """Kill the processes that make batches."""

    def kill(*_: object) -> None:
        for worker in multiprocessing.active_children():
            worker.kill()

    at_step(2, kill)()


def removed() -> None:
    at_step(2, lambda *_: shutil.rmtree("run"))()


ROOM = "expected room to write|found|make room, or|then write resume=|run to go on"
PLACE = "expected a place that can be used|found"


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (full("best.ckpt"), f"best.ckpt: {ROOM}"),
        (limited, f"last.ckpt: {ROOM}"),
        (full("results.json"), f"results.json: {ROOM}"),
        (removed, f"metrics.csv: {PLACE} 'No such file"),
        (killed, "trainer.num_workers: expected workers until the end|run to go on, with fewer"),
    ],
    ids=["full", "limited", "full at the end", "removed", "killed"],
)
def test_a_run_that_cannot_write_says_so_and_goes_on(
    command: Command, tmp_path: Path, hook: Callable[[], None], message: str
) -> None:
    def work() -> None:
        hook()
        outcome = command("train", *RUN, f"trainer.num_workers={int(hook is killed)}")
        told = tmp_path / "told"
        told.write_text(outcome.err)
        raise SystemExit(outcome.code)

    assert at_once(1, lambda _: work()) == [2]
    last = (tmp_path / "told").read_text().splitlines()[-1]
    assert "Traceback" not in (tmp_path / "told").read_text()
    refused(2, last, message)
    assert not [path for path in tree(tmp_path) if path.endswith(".tmp")]
    again = command("train", *RUN)
    assert again.code == 0, again.err
    assert results_in(tmp_path / "run").last_epoch == 1


LONG = "x" * 300


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", *SMALL, "hydra.run.dir=file/run"], f"file/run: {PLACE} 'Not a directory'|;"),
        (["train", *SMALL, "hydra.run.dir=file"], f"file: {PLACE} 'File exists'"),
        (["train", *SMALL, "hydra.run.dir=/proc/x/y"], f"/proc/x: {PLACE} 'No such file"),
        (["train", *SMALL, "hydra.run.dir=/sys/x"], f"/sys/x: {PLACE} 'Operation not permitted"),
        (["train", *SMALL, f"hydra.run.dir={LONG}"], f"{LONG}|: {PLACE} 'File name too long'"),
        (["train", f"resume={LONG}"], f"{PLACE} 'File name too long'"),
        (
            ["train", "-m", *SMALL, "hydra.sweep.dir=file/sweep"],
            f"file/sweep|{PLACE[:8]}|found 'Not a dir",
        ),
        (["evaluate", LONG], f"{PLACE} 'File name too long'"),
        (["sweep", "status", LONG], f"{PLACE} 'File name too long'"),
        (["export", "trained", "file/out"], f"file: {PLACE} 'File exists'"),
        (["export", "trained", "/proc/x"], f"/proc/x: {PLACE} 'No such file"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_a_place_that_cannot_be_is_one_line(
    command: Command, tmp_path: Path, trained: Path, words: list[str], message: str
) -> None:
    Path("file").write_text("mine")
    Path("trained").symlink_to(trained)
    before = tree(tmp_path)
    outcome = command(*words)
    refused(outcome.code, outcome.err, message)
    assert tree(tmp_path) == before
    assert Path("file").read_text() == "mine"


def test_a_device_is_not_replaced(command: Command, tmp_path: Path) -> None:
    os.mkfifo("pipe")  # as /dev/null would be, by root
    outcome = command("plan", "plan.sizes={sst: 9}", "task=[sst]", "epochs=1", "plan.out=pipe")
    refused(outcome.code, outcome.err, f"plan.out: pipe: {PLACE} 'Not a file'")
    assert Path("pipe").is_fifo()


# Two processes in one directory.


def test_of_several_processes_one_has_the_directory(command: Command, tmp_path: Path) -> None:
    """All look at an empty one; the others would come to write while the first one trains."""
    build = running.assemble

    def work(number: int) -> None:
        running.assemble = lambda *a: (time.sleep(number / 2), build(*a))[1]
        main(["train", *RUN])

    assert sorted(at_once(3, work)) == [0, 2, 2]
    log = (tmp_path / "run" / "train.log").read_text("utf-8")
    assert log.count("run in ") == 1
    assert results_in(tmp_path / "run").last_epoch == 1


def test_default_directories_are_never_the_same() -> None:
    names = {compose(SMALL).directory for _ in range(3)}
    assert len(names) == 3
