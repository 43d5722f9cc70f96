"""A job's state follows from what is on disk, whoever looks."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mtl_bert.jobs.folder import Folder, Job, State, Sweep

NAME = "rr-seed1-abc"


def sweep(*names: str, command: tuple[str, ...] = ("seed=1",)) -> Sweep:
    jobs = tuple(Job(number=n, name=name, overrides=()) for n, name in enumerate(names))
    return Sweep(command=command, started=datetime.now(UTC), jobs=jobs)


def run_directory(folder: Folder, *files: str) -> None:
    place = folder.path / NAME
    place.mkdir(exist_ok=True)
    for name in files:
        (place / name).write_text("")


def test_the_states(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.add(sweep(NAME), "host 3")
    assert folder.state(NAME) == State.WAITING
    run_directory(folder, "config.yaml")
    assert folder.state(NAME) == State.STOPPED
    folder.note(NAME, State.FAILED, "the disk is gone")
    assert folder.state(NAME) == State.FAILED
    assert folder.noted(NAME, State.FAILED) == "the disk is gone"
    with folder.lock(NAME):
        assert folder.state(NAME) == State.RUNNING
    run_directory(folder, "results.json")  # which nobody can read: that is why it failed
    assert folder.state(NAME) == State.FAILED
    folder.forget(NAME, State.FAILED)
    assert folder.state(NAME) == State.DONE


def test_what_failed_since_a_time_is_known_without_a_list_of_jobs(tmp_path: Path) -> None:
    """Of the jobs that a sweeper invents as it goes."""
    folder, began = Folder(tmp_path), datetime.now(UTC)
    folder.note(NAME, State.FAILED, "no luck")
    folder.note("host 3", State.STOPPED, "SIGINT")
    assert folder.failed_since(began) == [NAME]
    assert folder.failed_since(began + timedelta(seconds=5)) == []


def test_a_new_command_tries_again_what_failed(tmp_path: Path) -> None:
    folder, asked = Folder(tmp_path), sweep(NAME, "other")
    folder.add(asked, "host 3")
    folder.note(NAME, State.FAILED, "no luck")
    folder.note("stranger", State.FAILED, "no luck")
    folder.add(asked, "host 3")
    assert folder.state(NAME) == State.WAITING
    assert folder.state("stranger") == State.FAILED


def test_a_sweep_is_its_runs_or_else_its_command(tmp_path: Path) -> None:
    assert sweep("a", "b").key == sweep("a", "b", command=("seed=1,2",)).key
    assert sweep("a").key != sweep("a", "b").key
    assert sweep(command=("x=1",)).key != sweep(command=("x=2",)).key


def test_sweeps_with_the_same_runs_in_another_order_know_their_own_jobs(tmp_path: Path) -> None:
    """Each carries out all of its jobs, whichever was noted last."""
    folder, first, second = Folder(tmp_path), sweep("a", "b", "a"), sweep("b", "a")
    folder.add(first, "host 3")
    folder.add(second, "host 3")
    for one in (first, second):
        numbers = {name: folder.first_number(one.key, name) for name in ("a", "b")}
        assert numbers == {job.name: job.number for job in reversed(one.jobs)}
    assert folder.names() == ["a", "b"]


def test_a_stop_is_of_one_process_and_not_of_another_with_the_same_jobs(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.note("host 1", State.STOPPED, "SIGTERM")
    folder.add(sweep("a"), "host 3")
    assert folder.noted("host 1", State.STOPPED) == "SIGTERM"
    assert folder.noted("host 2", State.STOPPED) is None
    folder.add(sweep("a"), "host 1")  # another process with the same number
    assert folder.noted("host 1", State.STOPPED) is None


def test_runs_of_several_sweeps_are_named_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.add(sweep("a", "b", "a"), "host 3")
    folder.add(sweep("b", "c"), "host 3")
    run_directory(folder, "config.yaml")
    assert folder.names() == ["a", "b", "c", NAME]
    assert folder.first_number(sweep("a", "b", "a").key, "a") == 0
    assert folder.first_number("unknown", "a") is None


def test_the_last_epoch_that_was_scored(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.epochs(NAME) is None
    run_directory(folder, "metrics.jsonl")
    metrics = tmp_path / NAME / "metrics.jsonl"
    assert folder.epochs(NAME) is None
    for number, (score, expected) in enumerate(
        [("null", None), ("0.5", (2, 0.5)), ("null", (2, 0.5)), ("0.25", (4, 0.25))], start=1
    ):
        with metrics.open("a") as file:
            file.write(f'{{"epoch": {number}, "score": {score}}}\n')
        assert folder.epochs(NAME) == expected


def test_a_damaged_record_is_no_sweep(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.add(sweep("a"), "host 3")
    (tmp_path / ".sweep" / "broken.json").write_text("{")
    assert [found.jobs[0].name for found in folder.sweeps()] == ["a"]


def test_a_look_never_takes_a_lock_for_long(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.lock(NAME):
        pass
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        folder.state(NAME)
    with folder.lock(NAME).acquire(timeout=1):
        assert folder.state(NAME) == State.RUNNING
