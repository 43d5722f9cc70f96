"""One GPU a job: taken, waited for, given back, also by those that are killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mtl_bert.machine.gpus import VISIBLE, own_gpus, visible_gpus

HOLD = (
    "import os, sys, time; from mtl_bert.machine.gpus import own_gpus\n"
    "with own_gpus(int(sys.argv[1])):\n"
    "    print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.readline()"
)


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


class Job:
    """A process that takes GPUs and keeps them until it is told to end."""

    def __init__(self, wanted: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def has(self) -> set[str]:
        assert self.process.stdout is not None
        return set(self.process.stdout.readline().strip().split(","))

    def end(self, how: int | None = None) -> None:
        if how is not None:
            self.process.send_signal(how)
        self.process.communicate("\n")


def test_every_job_has_its_own_and_the_next_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "2,5")
    first, second = Job(1), Job(1)
    a, b = first.has, second.has
    assert len(a) == len(b) == 1
    assert a | b == {"2", "5"}
    third = Job(1)
    with pytest.raises(subprocess.TimeoutExpired):
        third.process.wait(1.5)
    first.end(signal.SIGKILL)
    assert third.has == a
    second.end()
    third.end()


def test_a_job_may_want_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0,1,GPU-abc")
    both = Job(2)
    with own_gpus(1):
        assert both.has | {os.environ[VISIBLE]} == {"0", "1", "GPU-abc"}
    both.end()


@pytest.mark.parametrize("there", ["", "0"])
def test_without_several_there_is_nothing_to_share_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str
) -> None:
    monkeypatch.setenv(VISIBLE, there)
    with own_gpus(1), own_gpus(1):
        assert os.environ[VISIBLE] == there
    assert list(tmp_path.iterdir()) == []


def test_without_the_variable_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")  # so that it is as before afterwards
    monkeypatch.delenv(VISIBLE)
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert visible_gpus() == ["0", "1"]
    with own_gpus(2):
        assert os.environ[VISIBLE] == "0,1"
