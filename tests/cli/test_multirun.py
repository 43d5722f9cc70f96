"""``-m``: every different run once, each on its own, whatever becomes of the others."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from mtl_bert.jobs.folder import Folder, State
from mtl_bert.machine.signals import EXIT_CODE
from mtl_bert.training import run as running
from tests.cli.driving import SMALL, Command, program, python_m, results_in, start
from tests.composing import settings_of

ROOT = str(Path(__file__).parents[2])
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
# It can be killed on the way.
LONG = (
    *SMALL, "sampler=rr", "epochs=5", "trainer.save_steps=3",
    "optimizer=paper",
    "optimizer._target_=tests.cli.misbehaving.linger",
)  # fmt: skip


def states(folder: Path) -> list[State]:
    """State of each run."""
    there = Folder(folder)
    return [there.state(name) for name in there.names()]


def weights(run: Path) -> bytes:
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return b"".join(tensor.numpy().tobytes() for tensor in state.values())


def test_every_combination_is_a_run_of_its_own(command: Command, tmp_path: Path) -> None:
    grid = ("sampler=rr,arrp", "lambda=0.3,0.5", "B=8", "seed=1")
    ended = command("train", "-m", *SMALL, *grid)
    assert ended.code == 0, ended.err
    assert "sweep of 4 jobs, 3 different runs in runs/sweep, 0 already done" in ended.err
    assert ended.err.count("sampler=rr does not use lambda: left out") == 2
    assert len(re.findall(r"job \d is the same run as job \d", ended.err)) == 1
    runs = {path.parent for path in (tmp_path / "runs").rglob("results.json")}
    assert {run.name.rpartition("-")[0] for run in runs} == {
        "rr-B8-seed1", "arrp-B8-lambda0.3-seed1", "arrp-B8-lambda0.5-seed1"
    }  # fmt: skip
    assert {run.parent for run in runs} == {tmp_path / "runs" / "sweep"}
    ended_with = set()
    for run in runs:
        results = results_in(run)
        assert run.name.startswith(results.config["sampler"]["name"])
        assert f"seed{results.seed}-" in run.name
        assert results.overrides is not None
        assert f"seed={results.seed}" in results.overrides
        told = [word for word in results.overrides if word.startswith("lambda=")]
        assert len(told) == ("arrp" in run.name)  # what rr does not use is left out
        assert (run / "checkpoints" / "best.ckpt").is_file()
        log = (run / "train.log").read_text("utf-8")
        assert log.count("run in ") == 1  # and nothing of its neighbours
        assert str(run) in log
        ended_with.add(weights(run))
    assert len(ended_with) == 3

    # One was to keep the best weights alone, and was killed between its results and that.
    (killed,) = (run for run in runs if run.name.startswith("rr-"))
    text = (killed / "results.json").read_text("utf-8")
    (killed / "results.json").write_text(text.replace('"keep": "all"', '"keep": "best"'), "utf-8")
    before = {run: (run / "results.json").stat().st_mtime_ns for run in runs}
    again = command("train", "-m", *SMALL, "sampler=rr,arrp", "lambda=0.5", "B=8", "seed=1,2")
    assert again.code == 0, again.err
    assert "sweep of 4 jobs in runs/sweep, 2 already done" in again.err
    assert again.err.count("is already done (score") == 2
    assert {run: (run / "results.json").stat().st_mtime_ns for run in runs} == before
    assert {run for run in runs if not (run / "checkpoints" / "last.ckpt").exists()} == {killed}
    assert (killed / "checkpoints" / "best.ckpt").exists()
    assert len(list((tmp_path / "runs").rglob("results.json"))) == 5


def test_no_jobs_at_a_time_are_refused_before_anything_is_written(
    command: Command, tmp_path: Path
) -> None:
    ended = command("train", "-m", *SMALL, *JOBLIB[:1], "hydra.launcher.n_jobs=0", "seed=1,2")
    assert ended.code == 2
    assert ended.err.startswith("hydra.launcher.n_jobs: expected jobs at a time, or -1 for one")
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """The weights of single runs, by seed."""
    found = {}
    for seed in (1, 2):
        run = tmp_path_factory.mktemp("alone") / "run"
        running.run(settings_of(*LONG, f"seed={seed}"), run)
        found[seed] = weights(run)
    return found


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_jobs_that_fail_leave_the_others_alone(
    command: Command, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    """Refused, crashed, killed: each is said when it happens, at the end, and by status."""
    optimizers = "tests.cli.misbehaving.crash,torch.optim.AdamW,tests.cli.misbehaving.be_killed"
    choices = (
        "optimizer=paper",
        f"optimizer._target_={optimizers}",
        "freeze=none,[nope]",
        "hydra.sweep.dir=sweep",
    )
    # With joblib in new processes from first to last: in a fork its workers would be forks, too.
    carry_out = partial(python_m, cwd=tmp_path, PYTHONPATH=ROOT) if launcher else command
    ended = carry_out("train", "-m", *SMALL, *choices, *launcher)
    assert ended.code == 2
    for job, error in {
        0: "RuntimeError: the disk is gone",
        1: "freeze: expected patterns of parameter names, found 'nope'",
        4: r"killed by SIGKILL \(out of memory\?\)",
    }.items():
        assert re.search(f"^job {job} failed: {error}", ended.err, re.MULTILINE)
        assert re.search(f"^failed: arrp-.*: {error}", ended.err, re.MULTILINE)
    assert "1 of 6 runs done" in ended.err
    found = states(tmp_path / "sweep")
    assert found.count(State.DONE) == 1
    assert found.count(State.FAILED) == 5
    (done,) = (tmp_path / "sweep").glob("arrp-*")  # those that failed have left no directory
    assert (done / "results.json").exists()
    if launcher:  # what a job prints beside others is kept
        (crashed,) = {line for line in ended.err.splitlines() if line.startswith("job 0 failed")}
        output = Path(crashed.partition("(its output: ")[2].rstrip(")"))
        assert "Traceback" in output.read_text("utf-8")

    shown = command("sweep", "status", "sweep")
    assert shown.code == 0
    assert "sweep: 1 done, 5 failed" in shown.out
    assert shown.out.count("expected patterns of parameter names") == 3
    listed = json.loads(command("sweep", "status", "sweep", "--json").out)
    assert [job["score"] for job in listed if job["state"] == "done"] == [results_in(done).score]
    assert sum(job["state"] == "failed" for job in listed) == 5


def test_the_launcher_for_slurm_carries_out_the_same_jobs(tmp_path: Path) -> None:
    """By its executor on this machine; one job refuses, which the sweep's own process says."""
    launcher = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
    choices = ("freeze=none,[nope]", "hydra.sweep.dir=sweep")
    ended = program("train", "-m", *SMALL, *choices, *launcher, cwd=tmp_path)
    assert ended.code == 2
    assert sorted(states(tmp_path / "sweep")) == [State.DONE, State.FAILED]
    assert "1 of 2 runs done" in ended.err
    assert re.search("^failed: arrp-.*: freeze: expected patterns", ended.err, re.MULTILINE)


def test_fail_fast_starts_no_more(command: Command, tmp_path: Path) -> None:
    choices = ("freeze=[nope],none", "fail_fast=true", "hydra.sweep.dir=sweep")
    ended = command("train", "-m", *SMALL, *choices)
    assert ended.code == 2
    assert "job 1 is not started (fail_fast, and job 0 failed)" in ended.err
    assert sorted(states(tmp_path / "sweep")) == [State.FAILED, State.WAITING]
    assert not list((tmp_path / "sweep").glob("arrp-*"))


@pytest.mark.parametrize(
    ("number", "launcher"),
    [(signal.SIGINT, ()), (signal.SIGKILL, JOBLIB)],
    ids=["basic-INT", "joblib-KILL"],
)
def test_a_sweep_that_is_killed_goes_on(
    tmp_path: Path, alone: dict[int, bytes], number: int, launcher: tuple[str, ...]
) -> None:
    """With the bits of single runs; nothing is left running, nothing is run twice."""
    arguments = (*LONG, "seed=1,2", "hydra.sweep.dir=sweep")
    folder = tmp_path / "sweep"
    (tmp_path / "linger").touch()
    started = start("train", "-m", *arguments, *launcher, cwd=tmp_path, PYTHONPATH=ROOT)
    jobs = 2 if launcher else 1
    _wait(lambda: len(list(folder.glob("*/metrics.jsonl"))) == jobs)
    assert states(folder).count(State.RUNNING) == jobs
    assert started.process.pid is not None
    os.kill(started.process.pid, number)
    ended = started.end()
    if number != signal.SIGKILL:
        assert ended.code == EXIT_CODE, ended.err
        assert f"sweep stopped by {signal.Signals(number).name}" in ended.err
    _wait(lambda: State.RUNNING not in states(folder))
    assert states(folder).count(State.STOPPED) == jobs

    (tmp_path / "linger").unlink()
    ended = program("train", "-m", *arguments, cwd=tmp_path)  # one after the other, in any case
    assert ended.code == 0, ended.err
    assert states(folder) == [State.DONE, State.DONE]
    for seed in (1, 2):
        (run,) = folder.glob(f"rr-seed{seed}-*")
        log = (run / "train.log").read_text("utf-8")
        assert ("resuming from epoch" in log) == (seed <= jobs)
        assert weights(run) == alone[seed]


def _wait(until: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_waits_for_another_process_with_the_same_run(
    command: Command, tmp_path: Path
) -> None:
    arguments = (*SMALL, "sampler=rr", "hydra.sweep.dir=sweep")
    assert command("train", "-m", *arguments).code == 0
    (run,) = (tmp_path / "sweep").glob("rr-*")
    results = (run / "results.json").read_bytes()
    (run / "results.json").unlink()
    with Folder(tmp_path / "sweep").lock(run.name):
        second = start("train", "-m", *arguments, cwd=tmp_path)
        _wait(lambda: "waits for another process" in second.err.read_text("utf-8"))
        (run / "results.json").write_bytes(results)
    ended = second.end()
    assert ended.code == 0, ended.err
    assert "job 0 done" in ended.err
    assert "run in " not in ended.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sampler=rr,nope"], "sampler: expected one of annealed, arrp"),
        (["batch_size=8,0"], r"job 1 \(.*\): batch_size: expected a whole number ≥ 1, found 0"),
        (["sampler=rr,single", "lambda=0.3,0.5"], "lambda: expected no value with sampler=rr"),
        (["+experiment=glob(table4/*)"], "-m: expected at least one job, found none"),
        (["resume=runs/x"], r"job 0 \(.*\): resume: expected nothing with -m"),
        (["fail_fast=3"], r"job 0 \(.*\): fail_fast: expected true or false, found 3"),
    ],
)
def test_what_is_wrong_stops_all_before_the_first(
    command: Command, tmp_path: Path, overrides: list[str], message: str
) -> None:
    outcome = command("train", "-m", *SMALL, *overrides)
    assert outcome.code == 2
    assert re.match(message, outcome.err), outcome.err
    assert not list(tmp_path.rglob("results.json"))
    assert not list(tmp_path.rglob(".sweep"))


def test_status_of_a_folder_without_a_sweep(command: Command, tmp_path: Path) -> None:
    nothing = command("sweep", "status", str(tmp_path))
    assert nothing.code == 2
    assert "expected the folder of a sweep, found no jobs" in nothing.err
