"""From files to a trained run: what ``new-task`` sees, asks and writes."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.cli.driving import Command, results_in, tree
from tests.factories import assert_tells

THREE = ["entailment", "neutral", "contradiction"]
WORDS = ["good", "bad", "fine", "dull", "great", "awful", "film", "plot", "cast", "story"]


def sentences(seed: int = 0) -> Iterator[str]:
    draw = random.Random(seed)
    while True:
        yield " ".join(draw.choices(WORDS, k=draw.randint(3, 8))) + f" {draw.randint(0, 10**6)}"


def write(path: Path, header: list[str], make: Callable[[int], list[object]], n: int = 60) -> None:
    """GLUE's own form: tab-separated, quotes are letters, mostly with a header line."""
    lines = [header] * bool(header) + [[str(v) for v in make(i)] for i in range(n)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), "utf-8")


def glue(place: Path) -> None:
    """Eight training and dev files in the forms in which GLUE comes."""
    s = sentences()
    pair = ["index", "sentence1", "sentence2", "label"]
    forms: dict[str, tuple[list[str], Callable[[int], list[object]]]] = {
        "CoLA": ([], lambda i: ["gj04", i % 2, "" if i % 2 else "*", f'"{next(s)}']),
        "SST-2": (["sentence", "label"], lambda i: [next(s), i % 2]),
        "MRPC": (["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
                 lambda i: [i % 2, i, i + 1, next(s), next(s)]),
        "QQP": (["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
                lambda i: [i, 2 * i, 2 * i + 1, next(s), next(s), i % 2]),
        "STS-B": (["index", "sentence1", "sentence2", "score"],
                  lambda i: [i, next(s), next(s), f"{i % 26 / 5:.3f}"]),
        "MNLI": (["index", "sentence1", "sentence2", "gold_label"],
                 lambda i: [i, next(s), next(s), THREE[i % 3]]),
        "QNLI": (["index", "question", "sentence", "label"],
                 lambda i: [i, next(s), next(s), ["entailment", "not_entailment"][i % 2]]),
        "RTE": (pair, lambda i: [i, next(s), next(s), ["entailment", "not_entailment"][i % 2]]),
    }  # fmt: skip
    for name, (header, make) in forms.items():
        for split, n in (("train", 60), ("dev", 15)):
            write(place / f"{name}-{split}.tsv", header, make, n)


OPTIONS = {
    "CoLA": ("--no-header", "--quoting", "none", "--text-column", "3", "--label-column", "1"),
    "MRPC": ("--text-column", "#1 String", "--text2-column", "#2 String", "--label-column",
             "Quality"),
}  # fmt: skip


def test_eight_files_become_eight_tasks_and_a_trained_run(command: Command, tmp_path: Path) -> None:
    glue(tmp_path)
    names = {}
    for path in sorted(tmp_path.glob("*-train.tsv")):
        kind = path.name.removesuffix("-train.tsv")
        names[kind] = "my_" + kind.lower().replace("-", "")
        done = command("new-task", path.name, "--name", names[kind], "--dev", f"{kind}-dev.tsv",
                       *OPTIONS.get(kind, ()))  # fmt: skip
        assert done.code == 0, (kind, done.err)
        assert "60 train, 15 dev" in done.out
    written = {
        kind: yaml.safe_load((tmp_path / "my_conf" / "task" / f"{name}.yaml").read_text())
        for kind, name in names.items()
    }
    assert [kind for kind, task in written.items() if task["pair"]] == [
        "MNLI", "MRPC", "QNLI", "QQP", "RTE", "STS-B",
    ]  # fmt: skip
    assert written["MNLI"]["head"]["names"] == ["contradiction", "entailment", "neutral"]
    assert written["STS-B"]["head"] == {
        "_target_": "mtl_bert.tasks.Regression", "low": 0, "high": 5,
    }  # fmt: skip
    done = command("train", "--config-dir", "my_conf", f"task=[{','.join(names.values())}]",
                   "data=files", "sampler=rr", "B=16", "batch_size=8", "epochs=1",
                   "trainer.accelerator=cpu", "trainer.threads=1", "hydra.run.dir=run",
                   "trainer.enable_progress_bar=false")  # fmt: skip
    assert done.code == 0, done.err
    results = results_in(tmp_path / "run")
    assert list(results.tasks) == list(names.values())
    assert results.data.sizes["my_cola"] == {"train": 60, "dev": 15}
    assert results.tasks["my_mrpc"].metrics is not None
    assert results.tasks["my_mrpc"].metrics.keys() == {"accuracy", "f1", "mcc"}
    assert "my_mrpc f1" in " ".join(done.out.replace("│", " ").split())
    answers = pd.read_csv(tmp_path / "run" / "predictions" / "my_cola.csv")
    assert answers["text"].str.startswith('"').all()  # a letter of the text


def spread(path: Path, rows: list[dict[str, object]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            table.writeheader()
            table.writerows(rows)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_one_file_in_any_form_is_split_and_gaps_are_said(
    command: Command, tmp_path: Path, kind: str
) -> None:
    s = sentences()
    rows: list[dict[str, object]] = [
        {"id": i, "review": next(s), "stars": [1, 2, 5][i % 3]} for i in range(90)
    ]
    spread(tmp_path / f"reviews.{kind}", rows)
    done = command("new-task", f"reviews.{kind}", "--name", "reviews", "--dev-share", "0.3")
    assert done.code == 0, done.err
    assert "1 is class 0, 2 is class 1, 5 is class 2; write --kind number" in done.out
    task = yaml.safe_load((tmp_path / "my_conf" / "task" / "reviews.yaml").read_text())
    assert task["head"]["names"] == ["1", "2", "5"]
    train, dev = (int(part.split()[0]) for part in done.out.split("examples: ")[1].split(", ")[:2])
    assert train + dev == 90
    assert 15 <= dev <= 39  # 27 ± 3 deviations


def test_several_labels_of_one_text_are_tasks_and_blanks_are_left_out(
    command: Command, tmp_path: Path
) -> None:
    s, draw = sentences(), random.Random(0)
    rows: list[dict[str, object]] = [
        {"text": next(s), "tags": draw.sample(["a", "b", "c"], i % 4 and 2),
         "mood": ["up", "down", None][i % 3], "p": i % 5 / 4, "q": 1 - i % 5 / 4}
        for i in range(60)
    ]  # fmt: skip
    spread(tmp_path / "notes.jsonl", rows)
    labels = {"tags": ["tags"], "mood": ["mood"], "shares": ["p", "q"]}
    for name, columns in labels.items():
        chosen = [word for column in columns for word in ("--label-column", column)]
        done = command("new-task", "notes.jsonl", "--name", name, "--text-column", "text", *chosen)
        assert done.code == 0, done.err
        assert ("20 rows have no mood" in done.out) == (name == "mood")
    done = command("train", "--config-dir", "my_conf", "task=[tags,mood,shares]", "data=files",
                   "sampler=rr", "B=16", "batch_size=8", "epochs=1", "trainer.accelerator=cpu",
                   "trainer.threads=1", "hydra.run.dir=run",
                   "trainer.enable_progress_bar=false")  # fmt: skip
    assert done.code == 0, done.err
    results = results_in(tmp_path / "run")
    heads = {name: task["head"]["_target_"] for name, task in results.config["tasks"].items()}
    assert [head.rpartition(".")[2] for head in heads.values()] == [
        "MultiLabel", "Binary", "SoftLabels",
    ]  # fmt: skip
    assert sum(results.data.sizes["mood"].values()) == 40
    tags = pd.read_csv(tmp_path / "run" / "predictions" / "tags.csv")
    known = {row["text"]: set(row["tags"]) for row in rows}  # type: ignore[call-overload]
    for text, label in zip(tags["text"], tags["label"], strict=True):
        assert {n for n, one in zip("abc", label.split(), strict=True) if one == "1"} == known[text]
    assert command("predict", "run", "--task", "tags", "--text", "a fine plot").code == 0
    assert command("export", "run", "--out", "model").code == 0
    assert "mtl-bert train --config-dir DIR " in (tmp_path / "model" / "README.md").read_text()
    assert command("report", "run").code == 0


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("gone.csv",), ("FILE: expected a file", "gone.csv")),
        (("two.csv",), ("--label-column: expected one column", "a (2 different values), b (2")),
        (("people.csv",), ("stars (3 different values), who (12", "--label-column stars")),
        (("two.csv", "--label-column", "c"), ("--label-column: expected one of text, a, b",)),
        (("tags.csv",), ("--kind: expected classes or labels", "'x,y' in tags")),
        (("texts.csv", "--label-column", "a"), ("--text-column: expected", "one, two, three")),
        (("texts.csv", "--label-column", "one"), ("at most 100 classes", "values in one")),
        (("two.csv", "--label-column", "a", "--kind", "number"), ("--kind: expected classes",)),
        (("odd.csv",), ("--separator: expected the character between",)),
        (("book.xlsx",), ("book.xlsx: expected a text file", "not text; save a workbook")),
        (("empty.csv",), ("empty.csv: expected a text file", "found an empty one")),
        (("header.csv",), ("header.csv: expected rows", "found none", "--no-header")),
        (("two.csv", "--separator", ";;"), ("--separator: expected one character",)),
        (("wide.csv",), ("wide.csv: expected a text file", "UTF-16; write --encoding utf-16")),
        (("latin.csv",), ("text that is not UTF-8", "write --encoding")),
        (("list.json",), ("list.json: expected a text file", "JSON lines", "FILE.jsonl")),
        (("two.csv", "--label-column", "b", "--encoding", "x"), ("--encoding: expected an enc",)),
        (("two.csv", "--label-column", "b", "--test", "no.csv"), ("--test: expected a file",)),
    ],
)  # fmt: skip
def test_what_is_unclear_is_asked_in_a_line_and_nothing_is_written(
    command: Command, tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    s = sentences()
    both = ["yes", "no"]
    files: dict[str, Callable[[int], dict[str, object]]] = {
        "two": lambda i: {"text": next(s), "a": both[i % 2], "b": i % 2},
        "tags": lambda i: {"text": next(s), "tags": ["x,y", "x", "y,z"][i % 3]},
        "people": lambda i: {"text": next(s), "stars": "abc"[i % 3], "who": f"user{i % 12}"},
        "texts": lambda i: {"one": next(s), "two": next(s), "three": next(s), "a": i % 2},
    }
    for name, make in files.items():
        spread(tmp_path / f"{name}.csv", [make(i) for i in range(30)])
    (tmp_path / "odd.csv").write_text("text\none\ntwo\n")
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04\x14\x00\x06\x00")
    (tmp_path / "empty.csv").write_text("\n")
    (tmp_path / "header.csv").write_text("text,label\n")
    accented = "text,label\n" + "".join(f"é {next(s)},{i % 2}\n" for i in range(30))
    (tmp_path / "wide.csv").write_text(accented, "utf-16")
    (tmp_path / "latin.csv").write_text(accented, "latin-1")
    (tmp_path / "list.json").write_text('[{"text": "a", "label": 1}]')
    before = tree(tmp_path)
    done = command("new-task", *words, "--name", "mine")
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert_tells(line, *parts)
    assert tree(tmp_path) == before


def test_columns_that_are_not_used_are_named(command: Command, tmp_path: Path) -> None:
    s, second = sentences(), ["a cat", "a dog", "a hen"]
    rows: list[dict[str, object]] = [
        {"a": next(s), "b": second[i % 3], "same": i % 2, "note": i} for i in range(30)
    ]
    spread(tmp_path / "pairs.csv", rows)
    done = command("new-task", "pairs.csv", "--name", "one", "--label-column", "same")
    assert "not used: b, note; --text2-column COLUMN makes one a pair's second text" in done.out
    pair = ("--text-column", "a", "--text2-column", "b", "--label-column", "same")
    assert "not used: note\n" in command("new-task", "pairs.csv", "--name", "two", *pair).out


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_files_in_another_encoding(command: Command, tmp_path: Path, encoding: str) -> None:
    s = sentences()
    rows = "text,label\n" + "".join(f"é {next(s)},{i % 2}\n" for i in range(60))
    (tmp_path / "other.csv").write_text(rows, encoding)
    done = command("new-task", "other.csv", "--name", "other", "--encoding", encoding)
    assert done.code == 0, done.err
    task = yaml.safe_load((tmp_path / "my_conf" / "task" / "other.yaml").read_text())
    assert task["sources"]["files"]["encoding"] == encoding


def test_truths_codes_and_scales_are_read_as_they_are(command: Command, tmp_path: Path) -> None:
    s, n = sentences(), 12_000
    rows: list[dict[str, object]] = [
        {"text": next(s), "row": i, "good": i % 2 == 0, "long": i % 3 == 0,
         "code": ["01", "1234567", "1234568"][i % 3], "price": i / 10}
        for i in range(n)
    ]  # fmt: skip
    spread(tmp_path / "goods.csv", rows)
    spread(tmp_path / "goods.jsonl", rows)
    heads = {}
    for name, file, columns in (
        ("several", "goods.jsonl", ["good", "long"]), ("code", "goods.csv", ["code"]),
        ("price", "goods.csv", ["price"]), ("good", "goods.csv", ["good"]),
    ):  # fmt: skip
        chosen = [word for column in columns for word in ("--label-column", column)]
        done = command("new-task", file, "--name", name, *chosen, "--text-column", "text")
        assert done.code == 0, done.err
        assert ("f1 is that of 1;" in done.out) == (name == "good")
        written = yaml.safe_load((tmp_path / "my_conf" / "task" / f"{name}.yaml").read_text())
        heads[name] = {k: v for k, v in written["head"].items() if k != "_target_"}
    assert heads == {
        "several": {"names": ["good", "long"]}, "code": {"names": ["01", "1234567", "1234568"]},
        "price": {"low": 0, "high": 1200}, "good": {"names": ["0", "1"]},
    }  # fmt: skip
    spread(tmp_path / "plain.csv", [{k: row[k] for k in ("text", "row", "good")} for row in rows])
    assert command("new-task", "plain.csv", "--name", "plain").code == 0  # rows' numbers are none
