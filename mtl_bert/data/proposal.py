"""What a file of examples holds, and the task that it is proposed to be.

Nothing is guessed in silence: what a file leaves open is an error that names the option.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mtl_bert.data.sources.delimited import TABBED, FilePlace, read_file
from mtl_bert.data.sources.records import NUMBER, TRUTHS
from mtl_bert.utils.errors import UserError

Kind = Literal["classes", "number", "labels", "shares"]

LABELS = (
    "label", "labels", "gold_label", "target", "class", "category", "score", "similarity",
    "sentiment", "rating", "is_duplicate", "y",
)  # fmt: skip
TEXTS = (
    "text", "text1", "text2", "sentence", "sentence1", "sentence2", "question", "question1",
    "question2", "premise", "hypothesis", "review",
)  # fmt: skip
"""What such columns are mostly called."""
CLASSES = 100  # different texts in a column that may still be classes
WHOLE = 20  # different whole numbers that may still be classes
MANY = 30  # classes of which one is asked whether they are meant
KEPT = 10_000  # different values of a column that are counted one by one
SEPARATORS = "\t,;|"
SKEWED = 0.7  # share of one class from which accuracy says little


def number(text: str) -> float:
    """What a label says, truths as pandas writes them among them."""
    return float(TRUTHS.get(text, text))


@dataclass
class Column:
    """What is in a column."""

    name: str
    filled: int = 0
    lists: int = 0
    numbers: int = 0
    characters: int = 0
    words: int = 0  # of the longest text
    repeated: bool = False  # whether some value came again
    low: float = math.inf  # the least and greatest number
    high: float = -math.inf
    values: Counter[str] = field(default_factory=Counter)

    def add(self, value: object) -> None:
        """Count a value."""
        listed = isinstance(value, list | tuple)
        text = "" if value is None else str(value).strip()
        if not text and not listed:
            return
        self.filled += 1
        self.lists += listed
        if NUMBER.fullmatch(TRUTHS.get(text, text)):
            self.numbers += 1
            self.low, self.high = min(self.low, number(text)), max(self.high, number(text))
        self.repeated = self.repeated or text in self.values
        self.characters += len(text)
        self.words = max(self.words, len(text.split()))
        if len(self.values) <= KEPT:
            self.values.update([str(each) for each in value] if listed else [text])  # type: ignore[attr-defined]

    @property
    def numeric(self) -> bool:
        """Whether all of it is numbers."""
        return 0 < self.filled == self.numbers

    @property
    def whole(self) -> bool:
        """Whether all of it is whole numbers."""
        return self.numeric and all(number(v).is_integer() for v in self.values)

    @property
    def few(self) -> bool:
        """Whether so few different values come up so often that they may be classes."""
        return len(self.values) <= min(CLASSES, max(2, self.filled // 2))

    @property
    def may_be_text(self) -> bool:
        """Whether it may be what a model reads."""
        return bool(self.filled) and not (self.numeric or self.lists or self.few)

    @property
    def may_be_label(self) -> bool:
        """Whether it may be what a model shall say."""
        number_of_row = self.whole and not self.repeated and self.filled > WHOLE
        return bool(self.filled) and (self.few or self.numeric or self.lists > 0) and (
            not number_of_row
        )  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What a file holds."""

    path: Path
    rows: int
    faults: Sequence[str]
    columns: dict[str, Column]


def separator_of(path: Path, encoding: str = "utf-8") -> str:
    """The separator of a delimited file, by its first lines; UserError if they do not tell."""
    with path.open("rb") as opened:
        start = opened.read(1024)
    found, advice = "", "name another"
    if not start.strip():
        found = "an empty one"
    elif start.startswith((b"\xff\xfe", b"\xfe\xff")) and encoding == "utf-8":
        found, advice = "one in UTF-16", "write --encoding utf-16"
    elif b"\0" in start and encoding == "utf-8":
        found, advice = "one that is not text", "save a workbook as CSV UTF-8, or name another"
    elif start.lstrip(b"\xef\xbb\xbf \r\n").startswith((b"{", b"[{")):
        found, advice = "JSON", "save it as JSON lines, an object in each, called FILE.jsonl"
    if found:
        raise UserError(
            f"{path}: expected a text file with a line for each example, found {found}; {advice}"
        )
    with path.open(encoding=encoding, errors="replace") as file:
        lines = [line for line, _ in zip(file, range(50), strict=False) if line.strip()]
    counts = {s: [line.count(s) for line in lines] for s in SEPARATORS}
    usual = "\t" if path.suffix in TABBED else ","
    same = [s for s, each in counts.items() if each and min(each) == max(each) > 0]
    if min(counts[usual], default=0) > 0:
        return usual
    if len(same) == 1:
        return same[0]
    raise UserError(
        f"--separator: expected the character between the columns of {path}, found "
        f"{' and '.join(map(repr, same)) or 'none that all of its lines have'}; write for example "
        "--separator ';'"
    )


def look(path: Path, place: FilePlace) -> Look:
    """Read a file once; UserError if it is not there or cannot be read."""
    if not path.is_file():
        raise UserError(f"FILE: expected a file with examples, found none at {path}; name another")
    advice = "write --no-header, --quoting none or --encoding as the file is"
    names, records = read_file(path, place, advice)
    columns, rows, faults = {name: Column(name) for name in names}, 0, []
    for rows, record in enumerate(records, 1):  # noqa: B007
        if record.fault:
            faults.append(f"{record.place}: {record.fault}")
            continue
        for name, column in columns.items():
            column.add(record.fields.get(name))
    if rows == 0 or 2 * len(faults) > rows:
        found, advice = "none", "write --no-header if its first line is a row, or name another"
        if rows:
            found = f"{len(faults):,} of {rows:,} that cannot ({faults[0]})"
            advice = "write --encoding, --quoting none or --separator as the file is"
        raise UserError(f"{path}: expected rows that can be read, found {found}; {advice}")
    return Look(path, rows, faults, columns)


def chosen(of: Look, texts: Sequence[str], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns of the text, or both of a pair, and of the label; UserError if it is unclear."""
    for option, given in (("--text-column", texts), ("--label-column", labels)):
        if unknown := [name for name in given if name not in of.columns]:
            raise UserError(
                f"{option}: expected one of {', '.join(of.columns)}, found {unknown[0]}; see the "
                f"first line of {of.path}"
            )
    found_labels = list(labels) or _the_one(of, LABELS, texts)
    may_be = [c.name for c in of.columns.values() if c.may_be_text and c.name not in found_labels]
    known = [name for name in may_be if name.lower() in TEXTS]
    found = list(texts) or (may_be if len(may_be) in (1, 2) else known)
    if len(found) not in (1, 2):
        raise UserError(
            "--text-column: expected one column that could be the text, or two of a pair, found "
            f"{', '.join(may_be) or 'none'} among {', '.join(of.columns)}; write --text-column "
            "COLUMN, and --text2-column COLUMN for a pair"
        )
    return found, found_labels


def _the_one(of: Look, names: Sequence[str], taken: Sequence[str]) -> list[str]:
    may_be = [c.name for c in of.columns.values() if c.may_be_label and c.name not in taken]
    known = [name for name in may_be if name.lower() in names]
    for found in (known, may_be):
        if len(found) == 1:
            return found
    # Names of people and places come up often, too: the fewer different values, the likelier.
    may_be.sort(key=lambda name: len(of.columns[name].values))
    counted = [f"{name} ({len(of.columns[name].values):,} different values)" for name in may_be]
    raise UserError(
        "--label-column: expected one column that could be the label, found "
        f"{', '.join(counted) or 'none'} among {', '.join(of.columns)}; write --label-column "
        f"{may_be[0] if may_be else 'COLUMN'}"
    )


def kind_of(columns: Sequence[Column], kind: Kind | None) -> Kind:
    """What the labels are; UserError if they may be several things."""
    first = columns[0]
    if len(columns) > 1:
        ones = all(c.numeric and {number(v) for v in c.values} <= {0.0, 1.0} for c in columns)
        found: Kind = "labels" if ones else "shares"
    elif first.lists:
        found = "labels"
    elif first.numeric:
        found = "classes" if first.whole and len(first.values) <= WHOLE else "number"
    else:
        found = "classes"
        if several := [s for s in ",;|" if _splits(first, s)]:
            example = next(v for v in first.values if several[0] in v)
            if kind is None:
                raise UserError(
                    f"--kind: expected classes or labels, found {example!r} in {first.name}, which "
                    "may be one name or several; write --kind labels or --kind classes"
                )
    wanted = kind or found
    # Whole numbers too many for classes are a scale, unless somebody says otherwise.
    if wanted == "classes" and not first.few:
        raise UserError(
            f"--label-column: expected at most {CLASSES} classes that come up more than once, "
            f"found {len(first.values):,} different values in {first.name}; write another column"
        )
    if (wanted == "number" and not first.numeric) or (
        len(columns) > 1 and wanted not in ("labels", "shares")
    ):
        raise UserError(
            f"--kind: expected {found} for {', '.join(c.name for c in columns)}, found {wanted}; "
            f"write --kind {found}"
        )
    return wanted


def _splits(column: Column, separator: str) -> bool:
    """Whether values look like several names each."""
    with_it = sum(n for value, n in column.values.items() if separator in value)
    return with_it > column.filled / 20 and len(atoms(column, separator)) <= CLASSES


def atoms(column: Column, separator: str) -> Counter[str]:
    """The names in a column of several, and how often each is there."""
    if column.lists:
        return column.values
    found = Counter[str]()
    for value, n in column.values.items():
        found.update(dict.fromkeys({part.strip() for part in value.split(separator)} - {""}, n))
    return found


def by_value(values: Sequence[str]) -> list[str]:
    """Labels in the order of their classes: numbers by value, names by the alphabet.

    Of numbers that are written in several ways (1, 1.0, True) the shortest counts.
    """
    if all(NUMBER.fullmatch(TRUTHS.get(value, value)) for value in values):
        written = {number(v): TRUTHS.get(v, v) for v in sorted(values, key=len, reverse=True)}
        return [written[value] for value in sorted(written)]
    return sorted(values)


def proposed(kind: Kind, columns: Sequence[Column], separator: str) -> dict[str, Any]:
    """Head, loss, metrics and score, as a task's file has them."""
    first, skewed = columns[0], False
    if kind == "number":
        node: dict[str, Any] = {"low": math.floor(first.low), "high": math.ceil(first.high)}
        node["high"] += node["low"] == node["high"]
        return {
            "head": {"_target_": "mtl_bert.tasks.Regression", **node},
            "loss": {"_target_": "torch.nn.MSELoss"},
            "metrics": ["pearson", "spearman", "mse"],
            "score": {"_target_": "mtl_bert.tasks.MetricRange", "low": -1, "high": 1},
        }
    if kind == "classes":
        counts, names = first.values, by_value(list(first.values))
        if len(names) < 2:
            raise UserError(
                f"--label-column: expected at least two classes, found {', '.join(names)} alone in "
                f"{first.name}; write another column"
            )
        skewed = max(counts.values()) > SKEWED * first.filled
    else:
        several = len(columns) > 1
        names = [c.name for c in columns] if several else by_value(list(atoms(first, separator)))
    two = kind == "classes" and len(names) == 2
    heads = {"classes": "Binary" if two else "MultiClass", "labels": "MultiLabel",
             "shares": "SoftLabels"}  # fmt: skip
    loss = "BCEWithLogitsLoss" if two or kind == "labels" else "CrossEntropyLoss"
    metrics = ["accuracy", "f1", "mcc"] if kind != "labels" else ["f1_micro", "f1_macro"]
    score: dict[str, Any] = {"low": 0, "high": 1}
    if skewed:
        score = {"low": -1, "high": 1, "of": ["mcc"]}
    return {
        "head": {"_target_": f"mtl_bert.tasks.{heads[kind]}", "names": names},
        "loss": {"_target_": f"torch.nn.{loss}"},
        "metrics": metrics,
        "score": {"_target_": "mtl_bert.tasks.MetricRange", **score},
    }


def told(of: Look, texts: Sequence[str], labels: Sequence[str], kind: Kind) -> Iterator[str]:
    """What was seen, in lines for people."""
    yield f"{of.path}: {of.rows:,} rows with the columns {', '.join(of.columns)}"
    for name in texts:
        c = of.columns[name]
        mean = c.characters / max(1, c.filled)
        yield f"text: {name}, {mean:.0f} characters on average, the longest has {c.words} words"
    for name in labels:
        c = of.columns[name]
        some = ", ".join(f"{value} ({n:,})" for value, n in c.values.most_common(10))
        more = ", …" if len(c.values) > 10 else ""
        yield f"label: {name}, read as {kind}: {some}{more}"
        if kind == "classes" and len(c.values) > MANY:
            yield f"       {len(c.values):,} classes are many: --label-column names another column"
        if blanks := of.rows - len(of.faults) - c.filled:
            yield f"       {blanks:,} rows have no {name}, and are left out (blanks: true)"
    if kind == "classes" and of.columns[labels[0]].whole:
        names = by_value(list(of.columns[labels[0]].values))
        if names != [str(n) for n in range(len(names))]:
            pairs = ", ".join(f"{name} is class {n}" for n, name in enumerate(names))
            yield f"       {pairs}; write --kind number if they are a scale"
    for fault in of.faults[:3]:
        yield f"cannot be used: {fault}"
    if len(of.faults) > 3:
        yield f"cannot be used: {len(of.faults) - 3:,} rows more"
