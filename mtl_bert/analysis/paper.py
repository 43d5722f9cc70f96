"""What the paper prints: its tables' rows, and what a run must be to stand beside one of them.

Giancarlo Ricci, *Post-Op BERT: Improving Gradient-Surgery on Imbalanced Data*.
docs/explanation/paper.md says how we read it. These are its numbers as printed; where they
contradict each other, a footnote says so and nothing is mended.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mtl_bert.analysis.methods import ALL_BUT_HEAD, PAPER_SURGERY, WITHOUT_SURGERY, Method

ENCODER = "bert-base-uncased"
SENTIMENT, PARAPHRASE, SIMILARITY = "sst", "qqp", "sts"
TITLES = {SENTIMENT: "Sentiment", PARAPHRASE: "Paraphrase", SIMILARITY: "Similarity"}
METRICS = {SENTIMENT: "accuracy", PARAPHRASE: "accuracy", SIMILARITY: "pearson"}
EPOCHS = 10


class Size(NamedTuple):
    """A row of Table 1: examples of each split, and per cent used in a round-robin epoch."""

    train: int
    dev: int
    test: int
    used: float


SIZES: Mapping[str, Size] = {
    SIMILARITY: Size(6_040, 863, 1_725, 100.0),
    SENTIMENT: Size(8_544, 1_101, 2_210, 70.7),
    PARAPHRASE: Size(283_010, 40_429, 80_859, 2.1),
}


@dataclass(frozen=True)
class PaperRow:
    """A published row.

    Attributes:
        table, label: the table's number, and what it calls the method.
        experiment: our name for it: ``+experiment/tableN=NAME``.
        recipe: the method that a run must be of to be this row; all of B is drawn.
        tasks: the printed metrics.
        score: the printed "Dev" of Tables 2 and 4.
        minutes: per epoch, printed; in Table 3 those beyond round-robin's.
        inferred: what of the row is not printed but inferred, and from what.
        notes: where the print contradicts itself.
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
    numbers = {key: float(value) for key in ("B", "lambda", "score", "minutes", *TITLES)
               if (value := line[key])}  # fmt: skip
    recipe = Method(
        line["sampler"], int(numbers["B"]) if "B" in numbers else None,
        lambda_=numbers.get("lambda"), frozen=ALL_BUT_HEAD if line["frozen"] == "yes" else (),
        surgery="" if line["sampler"] in WITHOUT_SURGERY else PAPER_SURGERY,
    )  # fmt: skip
    return PaperRow(
        int(line["table"]), line["experiment"], line["label"], recipe,
        {task: numbers[task] for task in TITLES if task in numbers}, numbers.get("score"),
        numbers["minutes"], line["inferred"], line["notes"],
    )  # fmt: skip


with Path(__file__).with_name("paper.csv").open(encoding="utf-8", newline="") as _file:
    ROWS: tuple[PaperRow, ...] = tuple(map(_read, csv.DictReader(_file)))
"""Every row of Tables 2 to 4, in print's order."""


def rows(table: int) -> tuple[PaperRow, ...]:
    """A table's rows, in print's order."""
    return tuple(row for row in ROWS if row.table == table)


def row(table: int, experiment: str) -> PaperRow:
    """One row by its name."""
    (found,) = (row for row in rows(table) if row.experiment == experiment)
    return found
