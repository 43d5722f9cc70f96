"""Where a step's time goes: a trace to look at and a short table, of a few steps of each phase."""

import gzip
import json
import logging
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function

from mtl_bert.data.batch import Batch
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.module import MultiTaskModule
from mtl_bert.utils.files import replacing, write_text

log = logging.getLogger(__name__)

DIRECTORY, TRACE, SUMMARY = "profile", "trace.json.gz", "summary.txt"
WARM_UP, RECORDED, SHOWN = 5, 10, 12  # steps, steps, operators
PARTS = ("data", "forward", "backward", "surgery", "optimizer")


class StepProfile(Callback):
    """Records some steps of each phase of the first epoch that is trained.

    Args:
        directory: the run's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / DIRECTORY
        self._trace: dict[str, Any] = {}
        self._summaries: list[str] = []
        self._phase: Any = None
        self._profile: profile | None = None
        self._waiting: record_function | None = None

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, batch: PlanStep[Batch], batch_idx: int
    ) -> None:
        """Begin with the first step of a phase."""
        self._no_longer_waiting()
        if trainer.current_epoch == 0 and batch.plan.rows and batch.phase != self._phase:
            self._phase = batch.phase
            self._profile = self._begin(trainer, batch)
            self._profile.start()

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: MultiTaskModule,
        outputs: Any,
        batch: PlanStep[Batch],
        batch_idx: int,
    ) -> None:
        """Tell the profiler that a step is over; what comes next is waiting for a batch."""
        if self._profile is None:
            return
        self._profile.step()
        if self._profile.current_action == ProfilerAction.NONE:
            self._end(module)
        else:
            self._waiting = record_function("data")
            self._waiting.__enter__()  # type: ignore[no-untyped-call]

    def on_validation_start(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """A validation is no waiting."""
        self._no_longer_waiting()

    def on_train_epoch_end(self, trainer: Trainer, module: MultiTaskModule) -> None:  # type: ignore[override]
        """Say where it is."""
        if trainer.current_epoch == 0 and self._summaries:
            log.info(
                "profile in %s: %s says where the time went; open %s in ui.perfetto.dev",
                self._directory, SUMMARY, TRACE,
            )  # fmt: skip

    def on_exception(  # type: ignore[override]
        self, trainer: Trainer, module: MultiTaskModule, exception: BaseException
    ) -> None:
        """Leave a window that was not finished."""
        self._no_longer_waiting()
        if self._profile is not None:
            self._profile.on_trace_ready = None
            self._end(module)

    def _begin(self, trainer: Trainer, batch: PlanStep[Batch]) -> profile:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(datamodule, PlanDataModule)
        left = datamodule.plan(batch.epoch).steps[batch.number :]
        steps = sum(1 for _ in takewhile(lambda step: step.phase == batch.phase, left))
        warm = min(WARM_UP, steps // 3)
        end = min(warm + RECORDED, steps)

        def action(number: int) -> ProfilerAction:
            if number < warm:
                return ProfilerAction.WARMUP
            if number < end - 1:
                return ProfilerAction.RECORD
            return ProfilerAction.RECORD_AND_SAVE if number == end - 1 else ProfilerAction.NONE

        title = f"phase {batch.phase.name}: {end - warm} steps of epoch {batch.epoch}"
        return profile(
            activities=[
                ProfilerActivity.CPU,
                *([ProfilerActivity.CUDA] if torch.cuda.is_available() else []),
            ],
            schedule=action,
            on_trace_ready=lambda recorded: self._keep(recorded, f"{title}, after {warm}"),
        )

    def _keep(self, recorded: profile, title: str) -> None:
        """Add a phase to what is on disk."""
        with replacing(self._directory / "phase.json") as temporary:
            recorded.export_chrome_trace(str(temporary))
            trace = json.loads(temporary.read_text("utf-8"))
        (self._directory / "phase.json").unlink()
        self._trace = joined(self._trace, trace) if self._trace else trace
        self._summaries.append(summary(recorded.key_averages(), title))
        with (
            replacing(self._directory / TRACE) as temporary,
            gzip.open(temporary, "wt", encoding="utf-8") as file,
        ):
            json.dump(self._trace, file)
        write_text(self._directory / SUMMARY, "\n".join(self._summaries))

    def _end(self, module: MultiTaskModule) -> None:
        assert self._profile is not None
        self._profile.stop()
        self._profile = None

    def _no_longer_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.__exit__(None, None, None)
            self._waiting = None


def joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two traces as one, on the clock of the first."""
    base = "baseTimeNanoseconds"
    later = (second.get(base, 0) - first.get(base, 0)) / 1000  # microseconds, as events count
    events = [{**e, "ts": e["ts"] + later} if "ts" in e else e for e in second["traceEvents"]]
    return {**first, "traceEvents": [*first["traceEvents"], *events]}


def summary(averages: Iterable[Any], title: str) -> str:
    """The parts of a step and the operators that take longest, in lines."""
    events = list(averages)
    (steps,) = (event for event in events if event.key.startswith("ProfilerStep"))
    whole = steps.cpu_time_total
    parts = {part: [event for event in events if event.key.split(" ")[0] == part] for part in PARTS}
    spent = {part: sum(e.cpu_time_total for e in found) for part, found in parts.items()}
    lines = [f"{title}; {whole / steps.count / 1000:.2f} ms a step"]
    for part, time in [*spent.items(), ("rest", whole - sum(spent.values()))]:
        lines.append(_line(part, time, whole, steps.count))
        tasks = parts.get(part, [])
        if len(tasks) > 1:
            lines += [_line(f"  {e.key}", e.cpu_time_total, whole, steps.count) for e in tasks]
    lines.append("operators, each without what it calls (× calls a step)")
    lines += [
        _line(
            f"{e.key[:40]} × {e.count / steps.count:.0f}", e.self_cpu_time_total, whole, steps.count
        )
        for e in _operators(events)
    ]
    if torch.cuda.is_available():
        lines.append("times are the CPU's, which asks a GPU to work and goes on: see the trace")
    return "\n".join(lines) + "\n"


def _operators(events: Sequence[Any]) -> list[Any]:
    """Those that take longest by themselves; our own labels are none."""
    found = [e for e in events if e.key.split(" ")[0] not in PARTS and "ProfilerStep" not in e.key]
    return sorted(found, key=lambda event: -event.self_cpu_time_total)[:SHOWN]


def _line(name: str, time: float, whole: float, steps: int) -> str:
    return f"  {name:<48}{100 * time / whole:>6.1f} %{time / steps / 1000:>10.2f} ms"
