"""An epoch as people read it: a small table on a terminal, a line in a log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mtl_bert.reporting.results import EpochRecord, Scores


@dataclass(frozen=True)
class Summary:
    """What there is to say after an epoch.

    Attributes:
        record: the epoch's.
        epochs: of the whole run.
        before: the scores before it, if there are any.
        best: whether no epoch was better so far.
        passes: of each task, over the run so far: examples / size of the training set.
        conflict_share: of its joint steps, or None where there were none.
        left: how long the run will take, in words; empty where unknown.
    """

    record: EpochRecord
    epochs: int
    before: Scores | None
    best: bool
    passes: Mapping[str, float]
    conflict_share: float | None
    left: str

    @property
    def title(self) -> str:
        """Which epoch it is."""
        return f"epoch {self.record.epoch}/{self.epochs}"


def line(summary: Summary) -> str:
    """The epoch in a line: scores, or losses where the dev sets were not scored."""
    record = summary.record
    parts = [summary.title]
    scores = record.scores
    if scores is None:
        parts.append("not scored")
        parts += [f"{task} loss {loss:.3f}" for task, loss in record.losses.items()]
    else:
        parts.append(f"score {scores.score:.3f}")
        parts += [f"{name} {t.metric} {t.value:.3f}" for name, t in scores.tasks.items()]
    return "  ".join([*parts, *_remarks(summary)])


def table(summary: Summary) -> Group:
    """The epoch as a row for each task and one for the score, and the rest below."""
    record, before = summary.record, summary.before
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    made.add_column("task")
    for name in ("dev metric", "", "change", "loss", "examples", "epochs so far"):
        made.add_column(name, justify="left" if name == "dev metric" else "right")
    scores = record.scores
    for task, used in record.utilisation.items():
        dev, loss = ["not scored", "", ""], record.losses.get(task)
        if scores is not None:
            now = scores.tasks[task]
            dev = [now.metric, *_moved(now.value, before.tasks[task].value if before else None)]
        trained = ["" if loss is None else f"{loss:.3f}", f"{used.examples:,}"]
        made.add_row(task, *dev, *trained, f"{summary.passes[task]:.2f}")
    if scores is not None:
        made.add_section()
        made.add_row("score", "", *_moved(scores.score, before.score if before else None))
    return Group(made, Text("  ".join(_remarks(summary))))


def _moved(value: float, before: float | None) -> tuple[str, str]:
    return f"{value:.3f}", "" if before is None else f"{value - before:+.3f}"


def _remarks(summary: Summary) -> Iterator[str]:
    record = summary.record
    if summary.best:
        yield "best so far"
    times = {phase.name: phase.seconds for phase in record.phases}
    if record.scores is not None:
        times["dev sets"] = record.validation_seconds
    yield ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())
    if summary.conflict_share is not None:
        yield f"conflicts in {summary.conflict_share:.0%} of joint steps"
    if summary.left:
        yield summary.left
    if record.synthetic:
        yield "(synthetic text)"
