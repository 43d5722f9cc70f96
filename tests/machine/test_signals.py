"""Signals that ask a process to stop, and a terminal that goes away."""

import os
import pty
import signal
from importlib import reload

import pytest

from mtl_bert.machine import signals
from mtl_bert.machine.signals import StopRequest, how_killed
from tests.forking import in_a_fork


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_is_a_request_and_afterwards_what_it_was(number: int) -> None:
    before, stop = signal.getsignal(number), StopRequest()
    with stop.listening():
        assert not stop
        os.kill(os.getpid(), number)
        assert stop.signal == signal.Signals(number).name
    assert signal.getsignal(number) == before


def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    def work() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        reload(signals)
        stop = signals.StopRequest()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop

    assert in_a_fork(work) == 0


@pytest.mark.skipif(signal.SIGHUP not in signals.SIGNALS, reason="these tests run under nohup")
def test_a_terminal_that_is_gone_fails_no_write() -> None:
    """The run has to save, and its messages and its bar still come."""

    def work() -> None:
        ours, theirs = pty.openpty()
        for stream in (1, 2):
            os.dup2(theirs, stream)
        stop = StopRequest()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert os.isatty(1)  # it was a signal and no more
            os.close(ours)
            with pytest.raises(OSError, match="Input/output error"):
                os.write(1, b"lost")
            os.kill(os.getpid(), signal.SIGHUP)
            assert os.write(1, b"nowhere") == os.write(2, b"nowhere") == 7

    assert in_a_fork(work) == 0


def test_who_was_killed_may_have_lacked_memory() -> None:
    assert how_killed(signal.SIGKILL) == "killed by SIGKILL (out of memory?)"
    assert how_killed(signal.SIGSEGV) == "killed by SIGSEGV"
