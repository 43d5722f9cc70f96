"""What the paper prints: its tables' rows, and what a run must be to stand beside one of them.

Giancarlo Ricci, *Post-Op BERT: Improving Gradient-Surgery on Imbalanced Data*.
docs/explanation/paper.md says how we read it. These are its numbers as printed; where they
contradict each other, a footnote says so and nothing is mended.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mtl_bert.runs.methods import ALL_BUT_HEAD, PAPER_SURGERY, WITHOUT_SURGERY, Method

ENCODER = "bert-base-uncased"
PARAPHRASE = "qqp"
METRICS = {"sst": "accuracy", PARAPHRASE: "accuracy", "sts": "pearson"}


class Size(NamedTuple):
    """A row of Table 1: examples of each split, and per cent used in a round-robin epoch."""

    train: int
    dev: int
    test: int
    used: float


SIZES: Mapping[str, Size] = {
    "sts": Size(6_040, 863, 1_725, 100.0),
    "sst": Size(8_544, 1_101, 2_210, 70.7),
    PARAPHRASE: Size(283_010, 40_429, 80_859, 2.1),
}


class PaperRow(NamedTuple):
    """A published row: ``+experiment/tableN=NAME`` is our name for it.

    ``tasks``, ``score`` and ``minutes`` (per epoch; in Table 3 those beyond round-robin's) are as
    printed. ``recipe`` is the method that a run must be of to be this row; all of B is drawn.
    ``inferred`` says what is not printed, ``notes`` where the print contradicts itself.
    """

    table: int
    experiment: str
    label: str
    recipe: Method
    tasks: Mapping[str, float]
    score: float | None
    minutes: float
    inferred: str
    notes: str

    def is_of(self, method: Method) -> bool:
        """Whether a run of that method is this row."""
        return replace(method, B_scale=1.0) == self.recipe

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Everything that a reader of the row must know."""
        return tuple(filter(None, (self.inferred, self.notes)))


def _read(line: dict[str, str]) -> PaperRow:
    recipe = Method(
        line["sampler"], int(line["B"]) if line["B"] else None,
        lambda_=float(line["lambda"]) if line["lambda"] else None,
        frozen=ALL_BUT_HEAD if line["frozen"] == "yes" else (),
        surgery="" if line["sampler"] in WITHOUT_SURGERY else PAPER_SURGERY,
    )  # fmt: skip
    tasks = {task: float(line[task]) for task in METRICS if line[task]}
    score = float(line["score"]) if line["score"] else None
    return PaperRow(int(line["table"]), line["experiment"], line["label"], recipe, tasks, score,
                    float(line["minutes"]), line["inferred"], line["notes"])  # fmt: skip


with Path(__file__).with_name("paper.csv").open(encoding="utf-8", newline="") as _file:
    ROWS = tuple(map(_read, csv.DictReader(_file)))
"""Every row of Tables 2 to 4, in print's order."""


def rows(table: int) -> tuple[PaperRow, ...]:
    """A table's rows, in print's order."""
    return tuple(row for row in ROWS if row.table == table)


def row(table: int, experiment: str) -> PaperRow:
    """One row by its name."""
    (found,) = (row for row in rows(table) if row.experiment == experiment)
    return found
