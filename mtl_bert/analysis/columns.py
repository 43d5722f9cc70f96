"""Every column of every frame, declared once: what it means, its unit, and how it is written.

A frame's documentation, a table's heading and the form of a number all come from here.
``docs/reference/frames.md`` is made by
``python -m mtl_bert.analysis.columns > docs/reference/frames.md``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

MISSING, MINUS = "–", "−"
COUNT, METRIC, CHANGE, RATIO, PERCENT = ",.0f", ".3f", "+.3f", ",.2f", ".1%"
SHORT = ".3g"
"""Three digits, wherever they stand; whole numbers from 1,000 on."""


@dataclass(frozen=True)
class Column:
    """A column of a frame.

    Attributes:
        name: as pandas knows it.
        dtype: of its values: ``category``, ``str``, ``bool``, ``Int64``, ``float``, ``object``...
        about: what it holds, in a sentence.
        title: its heading for readers.
        form: a format specification for its numbers; nothing for words.
        unit: of its numbers.
    """

    name: str
    dtype: str
    about: str
    title: str
    form: str = ""
    unit: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers to compare, which stand to the right."""
        return self.form != ""

    def write(self, value: Any, deviation: Any = None) -> str:
        """A value for readers, with ± its deviation where that is known."""
        if value is None or (not isinstance(value, (list, tuple, dict)) and pd.isna(value)):
            return MISSING
        if isinstance(value, bool) or self.dtype == "bool":
            return "yes" if value else "no"
        if not self.form:
            return str(value)
        text = _number(value, self.form).replace("-", MINUS)
        if deviation is None or pd.isna(deviation):
            return text
        number, unit = (text[:-1], "%") if text.endswith("%") else (text, "")
        spread = _number(deviation, self.form.removeprefix("+")).removesuffix("%")
        return f"{number} ± {spread}{unit and f' {unit}'}"


def _number(value: float, form: str) -> str:
    return format(value, COUNT if form == SHORT and abs(value) >= 999.5 else form)


def _declare(*columns: tuple[str, ...]) -> dict[str, Column]:
    return {c[0]: Column(c[0], *c[1:]) for c in columns}


_KEYS = _declare(
    ("run", "category", "name of the run: its directory below the one that was read", "run"),
    ("setting", "category", "letter of the data, encoder and settings that it shares with the runs "
     "that it may be compared with", "setting"),
    ("method", "category", "how it chose examples and combined gradients; runs of one method "
     "differ in nothing but the seed", "method"),
    ("seed", "Int64", "random seed", "seed", "d"),
)  # fmt: skip
_RUN = _declare(
    ("sampler", "str", "name of the sampler", "sampler"),
    ("B", "Int64", "the sampler's B, before B_scale; missing is all there are", "B", COUNT,
     "examples"),
    ("B_scale", "float", "factor on B that adapts it to smaller data", "B scale", "g"),
    ("drawn", "Int64", "B × B_scale: the examples that B really draws", "B drawn", COUNT,
     "examples"),
    ("lambda_", "float", "penalty λ of a phase of one task; missing where there is none", "λ", "g"),
    ("lambda_on", "str", "what λ scales: the loss or the update", "λ on"),
    ("frozen", "str", "patterns of the parameters that a phase of one task freezes", "frozen"),
    ("surgery", "str", "how gradients are combined; empty where there is one at a time", "surgery"),
    ("rest", "str", "further settings of the sampler that are not the usual ones", "further"),
    ("epochs", "Int64", "epochs that it was to train for", "epochs", "d"),
    ("score", "float", "mean over tasks of the metrics, each mapped to 0..1; of the best epoch, on "
     "the dev sets", "score", METRIC, "0..1"),
    ("last_score", "float", "the same after the last epoch", "last score", METRIC, "0..1"),
    ("untrained_score", "float", "the same before training; missing where nobody measured it",
     "untrained", METRIC, "0..1"),
    ("best_epoch", "Int64", "epoch with the highest score; 0 if nothing was trained",
     "best epoch", "d"),
    ("last_epoch", "Int64", "last epoch", "last epoch", "d"),
    ("worst_task", "str", "task with the lowest metric, mapped to 0..1", "worst task"),
    ("worst", "float", "that lowest metric", "worst task's", METRIC, "0..1"),
    ("minutes", "float", "training wall clock per epoch, validation excluded",
     "minutes per epoch", SHORT, "min"),
    ("device", "str", "what it ran on; times compare on one device only", "device"),
    ("encoder", "str", "name of the encoder", "encoder"),
    ("data", "str", "name of the data", "data"),
    ("synthetic", "bool", "made-up text: its numbers say that the program works, no more",
     "synthetic"),
    ("partial", "bool", "parts of the training or dev sets only", "partial"),
    ("contaminated", "bool", "the encoder was trained before on data of a task", "contaminated"),
    ("like_the_paper", "bool", "data, encoder and batches are the paper's", "the paper's setting"),
    ("superseded", "bool", "a newer run has the same setting, method, epochs and seed",
     "superseded"),
    ("commit", "str", "the program's commit; +dirty with local changes", "commit"),
    ("finished", "datetime64[us, UTC]", "when it finished", "finished"),
    ("overrides", "object", "words of the command that made it; missing where none did",
     "overrides"),
    ("processes", "Int64", "processes that shared a step", "processes", "d"),
    ("batch_size", "Int64", "examples of a task in a step of one process", "batch size", "d"),
    ("group_by_length", "Int64", "steps within which texts of like length share a batch",
     "group by length", "d"),
    ("imbalance", "float", "the largest training set to each other one, as asked for",
     "imbalance", "g", ": 1"),
    ("dev_sample", "Int64", "dev examples of a task that epochs before the end were scored on; "
     "missing is all", "dev sample", COUNT, "examples"),
    ("skipped", "Int64", "steps that were not taken, as a loss or gradient was not finite",
     "skipped steps", COUNT, "steps"),
    ("overflows", "Int64", "steps that fp16's range did not hold", "overflows", COUNT, "steps"),
    ("notes", "object", "what a reader has to know about its numbers", "notes"),
    ("versions", "object", "versions of the libraries", "versions"),
    ("directory", "str", "where it lies", "directory"),
)  # fmt: skip
_SETTING = _declare(
    ("title", "str", "data, encoder and what else tells it from the other settings", "setting"),
    ("slug", "str", "a name for files", "slug"),
    ("about", "str", "which data, whole or in part, made up or not, seen before or not", "about"),
    ("caution", "str", "why the paper's numbers are of another experiment; empty where they are "
     "not", "caution"),
    ("badges", "object", "what no reader may overlook: (synthetic, partial or contaminated; what "
     "about it)", "badges"),
    ("papers_tasks", "bool", "tasks and metrics are the paper's", "the paper's tasks"),
    ("tasks", "object", "names of the tasks, in order", "tasks"),
    ("main_epochs", "Int64", "epochs that most of its runs have; the methods are compared there",
     "epochs", "d"),
    ("runs", "Int64", "runs of it", "runs", COUNT),
    ("words", "object", "everything that must be alike: setting -> value", "settings"),
    ("alike", "str", "shared by settings that differ in data.imbalance alone", "series"),
)  # fmt: skip
_TASK = _declare(
    ("task", "category", "name of the task", "task"),
    ("metric", "str", "name of the task's metric", "metric"),
    ("value", "float", "the metric on the dev set", "value", METRIC),
    ("unit", "float", "the metric, mapped to 0..1 as the score does", "0..1", METRIC, "0..1"),
    ("n", "Int64", "dev examples that it was measured on", "dev examples", COUNT, "examples"),
    ("low", "float", "the metric's value that counts 0", "lowest", "g"),
    ("high", "float", "the metric's value that counts 1", "highest", "g"),
    ("untrained", "float", "the metric before training; missing where nobody measured it",
     "untrained", METRIC),
    ("last", "float", "the metric after the last epoch", "last", METRIC),
    ("train", "Int64", "size of the training set", "training set", COUNT, "examples"),
    ("dev", "Int64", "size of the dev set", "dev set", COUNT, "examples"),
    ("seen", "str", "data sets of the task that the encoder was trained on before", "seen before"),
    ("classes", "object", "names of the classes by number; missing where answers are numbers",
     "classes"),
    ("scale", "object", "lowest and highest answer; missing where answers are classes", "scale"),
    ("labels", "object", "training examples of each class", "training labels"),
    ("examples", "Int64", "training examples, repeats included", "examples", COUNT, "examples"),
    ("unique", "Int64", "different ones among them", "different", COUNT, "examples"),
    ("fraction", "float", "share of the training set that was seen", "of the training set",
     PERCENT),
    ("repeats", "Int64", "examples beyond the different ones", "repeats", COUNT, "examples"),
    ("effective_epochs", "float", "examples by the size of the training set", "effective epochs",
     RATIO),
)  # fmt: skip
_EPOCH = _declare(
    ("epoch", "Int64", "counted from 1", "epoch", "d"),
    ("epoch_score", "float", "the epoch's score; missing where the dev sets were not scored",
     "score", METRIC, "0..1"),
    ("loss", "float", "mean training loss, unscaled; missing where the task was not trained",
     "training loss", METRIC),
    ("seconds", "float", "wall clock of training", "seconds", ",.1f", "s"),
    ("validation_seconds", "float", "wall clock of scoring the dev sets", "validation", ",.1f",
     "s"),
    ("examples_so_far", "Int64", "training examples of all tasks since the start, repeats "
     "included", "examples seen", COUNT, "examples"),
)  # fmt: skip
_PHASE = _declare(
    ("phase", "category", "name of the phase", "phase"),
    ("steps", "Int64", "steps that the numbers are about", "steps", COUNT, "steps"),
    ("joint_steps", "Int64", "steps with several tasks", "joint steps", COUNT, "steps"),
    ("conflicting", "float", "share of those steps in which some pair's (of a pair: this pair's) "
     "gradients had a negative cosine", "steps in conflict", PERCENT),
    ("removed", "float", "1 − length of the update / length of the gradients' plain sum, mean over "
     "joint steps; negative where it is longer", "removed", PERCENT),
    ("part", "category", "part of the encoder; `all` is the whole gradient", "part"),
    ("pair", "category", "two tasks: first/second", "pair"),
    ("cosine", "float", "mean cosine between the two tasks' gradients", "mean cosine", METRIC),
    ("phase_steps", "Int64", "steps of the phase, with the task or without", "phase's steps", COUNT,
     "steps"),
    ("norm", "float", "mean length of the task's gradient", "length", SHORT),
    ("share", "float", "the task's part in the update, mean over its steps; the tasks' parts of a "
     "step add up to 1", "part of the update", PERCENT),
    ("before", "float", "mean cosine between the task's gradient and the plain sum of all",
     "cosine with the sum", METRIC),
    ("after", "float", "mean cosine between the task's gradient and the update",
     "cosine with the update", METRIC),
)  # fmt: skip
_EXAMPLE = _declare(
    ("id", "str", "the example's, as in the data's file", "id"),
    ("text", "str", "the example's", "text"),
    ("text2", "str", "the second text of a pair; missing where there is none", "second text"),
    ("label", "float", "the right answer: a class's number, or a number on the scale", "true",
     "g"),
    ("prediction", "float", "the model's answer", "predicted", "g"),
    ("confidence", "float", "probability that the model gave its answer; missing where answers are "
     "numbers", "confidence", METRIC),
    ("error", "float", "distance between the answer and the right one", "error", METRIC),
)  # fmt: skip

COLUMNS: dict[str, Column] = _KEYS | _RUN | _SETTING | _TASK | _EPOCH | _PHASE | _EXAMPLE
"""Every column by its name; a name means the same in every frame."""

_USAGE = ("examples", "unique", "fraction", "repeats", "effective_epochs")
_INFLUENCE = ("norm", "share", "before", "after")
FRAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "runs": ("A row for each run.", (*_KEYS, *_RUN)),
    "settings": ("A row for each setting: runs of one may be compared.", ("setting", *_SETTING)),
    "scores": ("A row for each run and task: what the best epoch reached, and all data that was "
               "used.", (*_KEYS, *_TASK)),
    "epochs": ("A row for each run, epoch and task.",
               (*_KEYS, "epoch", "task", "value", "n", "epoch_score", "loss", "train", *_USAGE,
                "seconds", "validation_seconds", "examples_so_far")),
    "phases": ("A row for each run, epoch and phase.",
               (*_KEYS, "epoch", "phase", "steps", "examples", "seconds", "joint_steps",
                "conflicting", "removed")),
    "conflicts": ("A row for each run, epoch, phase, part of the encoder and pair of tasks that "
                  "met.", (*_KEYS, "epoch", "phase", "part", "pair", "steps", "cosine",
                           "conflicting")),
    "influences": ("A row for each run, epoch, phase and task: its part in the updates.",
                   (*_KEYS, "epoch", "phase", "task", "steps", "phase_steps", "joint_steps",
                    *_INFLUENCE)),
    "predictions": ("A row for each run, task and dev example: the best epoch's answers.",
                    (*_KEYS, "task", *_EXAMPLE)),
}  # fmt: skip
"""Each frame: what it holds, and its columns in order."""


def column(name: str, **changes: str) -> Column:
    """The declaration of a column; one that a task's name leads, as ``sst.value``, is the task's.

    Args:
        name: the column's.
        changes: of its title or form, for a table where it stands for something narrower.
    """
    task, _, last = name.rpartition(".")
    found = COLUMNS.get(name) or replace(COLUMNS[last], name=name, title=task)
    return replace(found, **changes) if changes else found


def write(name: str, value: Any, deviation: Any = None) -> str:
    """A value of a column, as readers see it."""
    return column(name).write(value, deviation)


def frame(name: str, records: Iterable[tuple[Any, ...]], keys: pd.DataFrame) -> pd.DataFrame:
    """A declared frame.

    Args:
        name: a key of :data:`FRAMES`.
        records: a tuple for each row: the number of its run, then its columns but the keys.
        keys: the keys' columns, a row for each run.
    """
    rest = [key for key in FRAMES[name][1] if key not in keys]
    numbers, *values = list(zip(*records, strict=True)) or [()] * (len(rest) + 1)
    found = keys.take(list(numbers)).reset_index(drop=True)
    made = {
        key: pd.Series(list(each), dtype=COLUMNS[key].dtype)
        for key, each in zip(rest, values, strict=True)
    }
    return pd.concat([found, pd.DataFrame(made)], axis=1)


def reference() -> str:
    """All frames and their columns, as Markdown."""
    lines = [
        "# Frames",
        "",
        "What `mtl_bert.analysis` reads from runs: tidy pandas frames. `report --to csv` and "
        "`--to parquet` write them.",
    ]
    for name, (about, names) in FRAMES.items():
        lines += ["", f"## {name}", "", about, "", "| column | type | unit | what it is |"]
        lines += ["|---|---|---|---|"]
        lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.about} |" for c in map(column, names)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference())
