"""What a run leaves for people and for other programs: its folder, and ``results.json`` in it.

:class:`RunFolder` says where everything lies. The records are the schema of ``results.json``;
``docs/results.schema.json`` is made from them:
``python -m mtl_bert.runs.results > docs/results.schema.json``.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mtl_bert.config.settings import CONFIG, TaskName
from mtl_bert.utils.errors import UserError

RESULTS = "results.json"


class RunFolder:
    """Where a run's files lie, if they are there; whoever reads or writes one asks here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG  # the resolved settings
        self.results = path / RESULTS  # :class:`Results`, written when the run has finished
        self.metrics = path / "metrics.jsonl"  # for each epoch an :class:`EpochRecord`
        self.log = path / "train.log"  # the messages of the run
        self.csv = path / "csv"  # what the CSV logger writes
        self.tensorboard = path / "tensorboard"
        self.profile = path / "profile"  # where the time of some steps went (trainer.profile)
        self.submission = path / "submission"  # predictions as the course wants them handed in
        self.lock = path / ".lock"  # held by the process that works on the run

    def predictions(self, task: str) -> Path:
        """The best epoch's answers to a task's dev set, as CSV; UserError if that leads out."""
        return self._within(self.path / "predictions" / f"{task}.csv")

    def checkpoint(self, name: str) -> Path:
        """The weights called ``best``, ``last`` or ``previous`` (the one before the last)."""
        return self.path / "checkpoints" / f"{name}.ckpt"

    def checkpoint_of(self, task: str) -> Path:
        """The weights of a task's own best epoch; UserError if that leads out."""
        return self._within(self.checkpoint(f"best-{task}"))

    @property
    def checkpoints_of_tasks(self) -> list[Path]:
        """Those that are there."""
        return sorted(self.checkpoint("best").parent.glob("best-*.ckpt"))

    @property
    def wandb_id(self) -> str | None:
        """The id of its W&B run, the newest where it was resumed; None where it has none."""
        found = sorted(self.path.glob("wandb/*run-*/run-*.wandb"))
        return found[-1].stem.removeprefix("run-") if found else None

    def refuse_links(self) -> None:
        """Raise UserError if something in the folder would be written, and lies elsewhere."""
        for path in self.path.rglob("*"):
            # W&B links its own logs; it opens new ones for a run that goes on.
            if path.is_symlink() and "wandb" not in path.relative_to(self.path).parts[:-1]:
                self._within(path)

    def _within(self, path: Path) -> Path:
        if (place := path.resolve()).is_relative_to(self.path.resolve()):
            return path
        raise UserError(
            f"{path}: expected a file in the folder of its run, found {place}, which is elsewhere; "
            "put the file itself there, or write another run"
        )

    def prune(self, keep: str) -> None:
        """Remove the checkpoints that a finished run need not keep: its largest files by far.

        Args:
            keep: what it was told by ``trainer.keep``: all, best or none.
        """
        to_go_on = [self.checkpoint(name) for name in ("last", "previous")]
        best = [self.checkpoint("best"), *self.checkpoints_of_tasks]
        for path in {"best": to_go_on, "none": [*to_go_on, *best]}.get(keep, []):
            path.unlink(missing_ok=True)

    def read_results(self) -> "Results":
        """The results of a finished run; OSError or ValueError if they cannot be read."""
        return Results.model_validate_json(self.results.read_text("utf-8"))


class Record(BaseModel):
    """Base of all records: nothing unknown is accepted, nothing changes after it is made."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )


class TaskScore(Record):
    """One task's metrics on its dev set."""

    metric: str = Field(
        description="name of the metric that enters the score, for example accuracy; of a mean of "
        "several their names, accuracy+f1"
    )
    value: float = Field(description="the metric; 0 where it is undefined")
    n: int = Field(description="dev examples that it was measured on")
    metrics: dict[str, float] | None = Field(
        default=None, description="all metrics of the task, where it has several: name -> value"
    )
    lower_is_better: bool = Field(default=False, description="less of the metric is better")
    constant: float | None = Field(
        default=None,
        description="the metric that enters the score, if every example got the same answer: the "
        "most frequent class, or the mean of numbers",
    )

    @property
    def learned(self) -> bool | None:
        """Whether the model does better than one answer for all; None where nobody measured it."""
        if self.constant is None:
            return None
        return self.value < self.constant if self.lower_is_better else self.value > self.constant

    @property
    def all(self) -> dict[str, float]:
        """Every metric by its name, the one that enters the score first."""
        return {self.metric: self.value} | (self.metrics or {})

    @property
    def rising(self) -> float:
        """The metric, or its negative where less is better: more of this is always better."""
        return -self.value if self.lower_is_better else self.value


class Scores(Record):
    """An evaluation of the whole model on the dev sets."""

    epoch: int = Field(description="after which epoch, counted from 1; 0 is the untrained model")
    score: float = Field(description="weighted mean over tasks of the metrics mapped to 0..1")
    tasks: dict[TaskName, TaskScore]


class Utilisation(Record):
    """How much of a task's training set was seen."""

    examples: int = Field(description="examples, repeats included")
    unique: int = Field(description="different examples")
    fraction: float = Field(description="unique / size of the training set")


class PairConflict(Record):
    """How two tasks' gradients stood to each other, over the steps that had both."""

    steps: int
    cosine: float = Field(description="mean of the cosine between the two gradients")
    conflicting: float = Field(description="share of the steps in which the cosine was negative")


class Influence(Record):
    """A task's part in the updates, over the steps that had it; means over them."""

    steps: int
    norm: float = Field(description="of the task's gradient")
    share: float = Field(
        description="of the update: the weighted gradient's projection on it by its length (of "
        "what the Gram matrix covers, averaged where the update is); the "
        "tasks' shares add up to 1 in every step, and may be negative"
    )
    before: float = Field(description="cosine between its gradient and the plain sum of all")
    after: float = Field(description="cosine between its gradient and the update")


class Conflicts(Record):
    """What the tasks did to each other in a phase, as the Gram matrices of its steps say."""

    steps: int
    several: int = Field(description="steps with several tasks")
    conflicting: float = Field(
        description="share of the steps with several tasks in which some pair's cosine was negative"
    )
    removed: float = Field(
        description="mean over the same of 1 − length of the update / length of the plain sum; "
        "negative where the method made it longer"
    )
    pairs: dict[str, PairConflict] = Field(description="first task/second task -> the pair")
    tasks: dict[TaskName, Influence]


class PhaseRecord(Record):
    """One phase of an epoch."""

    name: str
    steps: int
    examples: int = Field(description="over all tasks")
    seconds: float
    conflicts: Conflicts | None = Field(default=None, description="null where no step was taken")
    layers: dict[str, dict[str, PairConflict]] = Field(
        default={},
        description="part of the encoder -> pair, from an epoch's first joint step and every "
        "trainer.layers_every-th after it",
    )


class EpochRecord(Record):
    """One epoch: a line of metrics.jsonl and an entry of results.json."""

    epoch: int = Field(description="counted from 1")
    score: float | None = Field(
        description="mean over tasks of the metrics, each mapped to 0..1; null where the dev sets "
        "were not scored (trainer.check_val_every_n_epoch); of what chooses the best epoch "
        "(trainer.dev_sample, data.select)"
    )
    tasks: dict[TaskName, TaskScore] | None = Field(
        description="null likewise; of the same examples"
    )
    synthetic: bool = Field(description="made-up text: no number from it is a published one")
    seconds: float = Field(description="wall clock of training, validation excluded")
    validation_seconds: float = Field(description="0 where the dev sets were not scored")
    phases: list[PhaseRecord]
    losses: dict[TaskName, float] = Field(description="mean training loss of each task, unscaled")
    utilisation: dict[TaskName, Utilisation]
    classes: dict[TaskName, dict[str, int]] = Field(
        default={}, description="examples used of each class: task with balance -> label -> n"
    )

    @property
    def scores(self) -> Scores | None:
        """On the dev sets, if they were scored."""
        if self.score is None or self.tasks is None:
            return None
        return Scores(epoch=self.epoch, score=self.score, tasks=self.tasks)


class SkippedStep(Record):
    """A step that was not taken, because a loss or gradient was not finite."""

    epoch: int
    step: int = Field(description="of the epoch, from 0")
    rows: dict[TaskName, list[int]] = Field(description="the tasks whose it was, and their rows")


class DataRecord(Record):
    """What a run was trained and evaluated on."""

    name: str
    synthetic: bool = Field(description="made-up text: no number from it is a published one")
    sizes: dict[TaskName, dict[str, int]] = Field(
        description="usable examples: task -> split -> n; select is the part of the dev set that "
        "chose the best epoch, if that was another than the one that was scored"
    )
    skipped: dict[str, int] = Field(description="rows that could not be used: file -> n")
    truncated: dict[TaskName, int] = Field(
        description="texts cut at the encoder's limit: task -> n"
    )
    train_labels: dict[TaskName, dict[str, int]] = Field(
        default={}, description="training examples of each class: task -> class name -> n"
    )
    seen: dict[TaskName, list[str]] = Field(
        default={},
        description="tasks whose data the encoder was trained on before, as its model card says: "
        "task -> the card's data sets",
    )


class Results(Record):
    """A finished run. ``score`` and ``tasks`` are those of the best epoch."""

    schema_version: int = 1
    config: dict[str, Any] = Field(description="the resolved configuration")
    overrides: list[str] | None = Field(
        default=None,
        description="the command line that made the run, such as sampler=arrp; null if none did",
    )
    seed: int
    commit: str | None = Field(description="of the program's checkout; +dirty with local changes")
    device: str
    versions: dict[str, str]
    data: DataRecord
    encoder: str
    trained: int | None = Field(
        default=None,
        description="numbers that training may change: of the encoder or encoders and all that "
        "each task has of its own",
    )
    score: float
    tasks: dict[TaskName, TaskScore]
    more: dict[TaskName, dict[str, TaskScore]] = Field(
        default={},
        description="the best epoch's model on further labelled sets: task -> set -> score",
    )
    best_epoch: int = Field(
        description="the first with the highest score of those scored; 0 if none was trained"
    )
    last_epoch: int
    last: Scores = Field(description="the last epoch's scores")
    best_of_tasks: dict[TaskName, Scores] = Field(
        default={},
        description="the scores of each task's own best epoch, the first of those scored, where "
        "trainer.best_per_task keeps its weights; samples may have chosen it, and these scores are "
        "of the dev sets that the run reports",
    )
    untrained: Scores | None = Field(description="the random baseline, measured before training")
    utilisation: dict[TaskName, Utilisation] = Field(description="over all epochs")
    minutes_per_epoch: float = Field(description="mean training wall clock, validation excluded")
    epochs: list[EpochRecord]
    skipped: list[SkippedStep] = Field(default=[], description="steps that were not taken")
    overflows: int = Field(default=0, description="steps that fp16's range did not hold")
    notes: list[str] = Field(description="what a reader has to know about these numbers")
    finished: datetime

    @property
    def unlearned(self) -> list[str]:
        """The tasks of which the best epoch does no better than one answer for all examples."""
        return [task for task, of in self.tasks.items() if of.learned is False]

    @property
    def dev_sample(self) -> int | None:
        """Examples of each dev set at most that are scored amid training; None if that is all."""
        most = self.config["trainer"].get("dev_sample")
        chosen = [sizes["select"] for sizes in self.data.sizes.values() if "select" in sizes]
        if chosen:  # by examples that the dev sets here do not have
            return min(most or max(chosen), max(chosen))
        if most is None or all(sizes.get("dev", 0) <= most for sizes in self.data.sizes.values()):
            return None
        return int(most)


def named(scores: Scores | Results, lead: str) -> dict[str, float]:
    """The score and every metric by the names that loggers give them: LEAD/TASK/METRIC."""
    tasks = scores.tasks.items()
    metrics = {f"{lead}/{task}/{name}": n for task, of in tasks for name, n in of.all.items()}
    return {f"{lead}/score": scores.score} | metrics


class RunState(Record):
    """What a checkpoint knows of the run so far, besides the state of training."""

    model_config = ConfigDict(frozen=False)

    epochs: list[EpochRecord] = []
    best: Scores | None = None
    best_of_tasks: dict[TaskName, Scores] = {}
    untrained: Scores | None = None
    remarks: list[str] = []
    phase_seconds: dict[str, float] = Field(default={}, description="of the epoch so far")


if __name__ == "__main__":
    print(json.dumps(Results.model_json_schema(), indent=2))
