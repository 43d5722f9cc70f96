"""Show where a step's time goes, in a few steps of each phase: a trace to look at, and a table."""

import errno
import json
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function

from mtl_bert.sampling import Epoch
from mtl_bert.utils.files import write_text

log = logging.getLogger(__name__)

TRACE, SUMMARY = "trace-{}.json", "summary.txt"
WARM_UP, RECORDED, OPERATORS = 5, 10, 15  # steps, steps, rows of a table
PARTS = ("data", "forward", "backward", "surgery", "optimizer")


class StepProfile(Callback):
    """Records some steps of each phase of the first epoch that is trained, into a directory."""

    def __init__(self, directory: Path, plan: Callable[[int], Epoch]) -> None:
        self._directory, self._plan = directory, plan
        self._summaries: list[str] = []
        self._phase, self._seen = "", set[str]()
        self._profile: profile | None = None  # one a phase: with two windows torch 2.13 crashed
        self._waiting = ExitStack()  # open while a step waits for data

    def on_train_batch_start(self, trainer: Trainer, _: Any, batch: Any, *more: Any) -> None:
        """Begin with the first step of a phase."""
        self._waiting.close()
        if trainer.current_epoch or not batch.plan.rows or batch.phase.name in self._seen:
            return
        ahead, names = self._plan(batch.epoch).steps[batch.number :], [batch.phase.name]
        steps = sum(1 for _ in takewhile(lambda step: step.phase == batch.phase, ahead))
        if any(step.phase == batch.phase for step in ahead[steps:]):  # phases that take turns
            steps, names = len(ahead), list(dict.fromkeys(step.phase.name for step in ahead))
        self._phase = "+".join(names)
        self._seen.update(names)
        self._profile = self._begun(steps, batch.epoch)
        self._profile.start()

    def on_train_batch_end(self, *_: Any) -> None:
        """Tell the profiler that a step is over; what comes next is waiting for a batch."""
        if self._profile is not None:
            self._profile.step()
            self._waiting.enter_context(record_function("data"))
            if self._profile.current_action == ProfilerAction.NONE:
                self._end(self._profile)

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """Say where it is."""
        if trainer.current_epoch == 0 and self._summaries:
            where = "profile in %s: %s says where the time went; open a trace in ui.perfetto.dev"
            log.info(where, self._directory, SUMMARY)

    def on_exception(self, *_: Any) -> None:
        """Leave a phase that was not recorded to its end."""
        if self._profile is not None:
            self._profile.on_trace_ready = None
            self._end(self._profile)

    def _begun(self, steps: int, epoch: int) -> profile:
        """A profile of some steps of a phase that has so many."""
        warm = min(WARM_UP, steps // 3)
        end = min(warm + RECORDED, steps)
        actions = [ProfilerAction.WARMUP] * warm + [ProfilerAction.RECORD] * (end - warm - 1)
        actions += [ProfilerAction.RECORD_AND_SAVE, ProfilerAction.NONE]
        title = f"phase {self._phase}: {end - warm} steps of epoch {epoch}, after {warm}"
        gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
        return profile(
            activities=[ProfilerActivity.CPU, *gpu],
            schedule=lambda step: actions[min(step, end)],
            on_trace_ready=lambda recorded: self._keep(recorded, title),
        )

    def _end(self, recording: profile) -> None:
        self._waiting.close()
        recording.stop()
        self._profile = None

    def _keep(self, recorded: profile, title: str) -> None:
        """Write a phase's trace, and add the phase to the summary."""
        with TemporaryDirectory() as place:
            raw = Path(place) / "trace.json"
            recorded.export_chrome_trace(str(raw))
            try:
                json.loads(trace := raw.read_text("utf-8"))
            except ValueError:  # torch does not tell
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(raw)) from None
        write_text(self._directory / TRACE.format(self._phase), trace)
        self._summaries.append(summary(recorded.key_averages(), title))
        write_text(self._directory / SUMMARY, "\n".join(self._summaries))


def summary(averages: Any, title: str) -> str:
    """The parts of a step in lines, then torch's own table of the operators that take longest."""
    (steps,) = (event for event in averages if event.key.startswith("ProfilerStep"))
    whole, spent = steps.cpu_time_total, {e.key: e.cpu_time_total for e in averages}
    lines, rest = [f"{title}; {whole / steps.count / 1000:.2f} ms a step"], whole
    for part in PARTS:
        tasks = {f"  {key}": spent[key] for key in spent if key.split(" ")[0] == part}
        rest -= sum(tasks.values())
        shown = {part: sum(tasks.values())} | (tasks if len(tasks) > 1 else {})
        lines += [_line(name, time, whole, steps.count) for name, time in shown.items()]
    lines += [_line("rest", rest, whole, steps.count), ""]
    table = averages.table("self_cpu_time_total", row_limit=OPERATORS, max_name_column_width=40)
    return "\n".join([*lines, "operators", table])


def _line(name: str, time: float, whole: float, steps: int) -> str:
    return f"  {name:<32}{100 * time / whole:>6.1f} %{time / steps / 1000:>10.2f} ms"
