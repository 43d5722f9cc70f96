"""``mtl-bert predict --input``: a file's rows with the answers to them, in the file's order."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mtl_bert.data.table import Table
from mtl_bert.inference import text_files
from mtl_bert.inference.opened import Run
from mtl_bert.model import MultiTaskModel
from tests.cli.driving import Command, train_here, tree

AWKWARD = ['Fine, "really"\tfine .', "two\nlines", "é \N{SNOWMAN}", "word " * 90, "", "short"]


@pytest.fixture(scope="module")
def opened(trained: Path) -> Run:
    return Run.open(trained)


@pytest.fixture
def rows(opened: Run, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """More rows than a chunk has, of very different lengths."""
    monkeypatch.setattr(text_files, "CHUNK", 16)
    texts = [*AWKWARD, *opened.predictions("sst").text[:35]]
    return [{"id": f"r{n}", "text": text, "other": n} for n, text in enumerate(texts)]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """The rows in the form that the name says."""
    frame = pd.DataFrame(rows)
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path.name


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("to", ["csv", "jsonl"])
def test_every_row_gets_the_answer_to_its_text(
    opened: Run, rows: list[dict[str, Any]], command: Command, tmp_path: Path, form: str, to: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    name = write(tmp_path / f"my.{form}", rows)
    words = ("--task", "sst", "--input", name, "--output", f"deep/out.{to}", "--probabilities")
    ended = command("predict", str(opened.path), *words)
    assert ended.code == 0, ended.err
    assert ended.out == ""
    assert "1 of 41 rows lack a text (" in ended.err
    found = read(tmp_path / "deep" / f"out.{to}")
    assert tree(tmp_path / "deep") == [f"out.{to}"]
    expected = opened.predict("sst", [row["text"].strip() for row in rows])
    head = opened.predictor.model.tasks["sst"].head
    for row, answered, (prediction, confidence, name) in zip(
        rows, found, expected.itertuples(index=False), strict=True
    ):
        assert {k: str(answered[k]) for k in row} == {k: str(v) for k, v in row.items()}
        assert (int(answered["sst_prediction"]), answered["sst_name"]) == (prediction, name)
        assert float(answered["sst_confidence"]) == pytest.approx(confidence, abs=1e-5)
        chances = {name: float(answered[f"sst_p_{name}"]) for name in head.names}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert max(chances, key=chances.__getitem__) == name


def test_standard_input_and_output(
    opened: Run,
    rows: list[dict[str, Any]],
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes out is of the form of what goes in, and nothing else is among it."""
    for form in ("csv", "jsonl"):
        write(tmp_path / f"my.{form}", rows)
        with (tmp_path / f"my.{form}").open(encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            ended = command("predict", str(opened.path), "--task", "sst", "--input", "-")
        assert ended.code == 0, ended.err
        (tmp_path / f"out.{form}").write_text(ended.out, "utf-8", newline="")
        texts = [row["text"] for row in read(tmp_path / f"out.{form}")]
        assert texts == [row["text"] for row in rows]
        assert "synthetic" in ended.err


def test_all_tasks_read_each_text_once(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task's answers are those that it gives alone, from one pass through the encoder."""
    train_here(tmp_path / "run", "task=[qqp,sts,sst]", "sampler=rr", "B=16", "model.pairs=alone")
    opened = Run.open(tmp_path / "run")
    before = opened.predictions("sts")[["text", "text2"]]
    before.rename(columns={"text": "sentence1", "text2": "b"}).to_csv("pairs.csv", index=False)
    passes = []
    pooled = MultiTaskModel.pooled
    monkeypatch.setattr(
        MultiTaskModel, "pooled", lambda *given: passes.append(given[1]) or pooled(*given)
    )
    words = ("--text-column", "sentence1", "--text2-column", "b", "--output", "out.csv")
    ended = command("predict", "run", "--input", "pairs.csv", "--task", "all", *words)
    assert ended.code == 0
    assert "pairs.csv: sst takes one text and did not answer" in ended.err
    assert len(passes) == 1
    found = pd.read_csv("out.csv")
    assert list(found) == [
        "sentence1", "b", "qqp_prediction", "qqp_name", "qqp_confidence", "sts_prediction",
    ]  # fmt: skip
    pairs = list(before.itertuples(index=False, name=None))
    for task in ("qqp", "sts"):
        alone = opened.predict(task, pairs).prediction
        assert found[f"{task}_prediction"].tolist() == pytest.approx(alone.tolist(), abs=1e-5)


def test_memory_holds_a_chunk(opened: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more rows are encoded at once, and none is taken before those before it are answered."""
    monkeypatch.setattr(text_files, "CHUNK", 10)
    sizes: list[int] = []
    tokenize = type(opened.predictor.tokenize)
    encode = tokenize.__call__

    def counting(self: Any, table: Table) -> Any:
        sizes.append(len(table))
        return encode(self, table)

    monkeypatch.setattr(tokenize, "__call__", counting)
    name = write(tmp_path / "my.jsonl", [{"text": f"text {n}"} for n in range(35)])
    text_files.predict_file(opened, ["sst"], str(tmp_path / name), str(tmp_path / "out.csv"))
    assert sizes == [10, 10, 10, 5]


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("text\n", "", "my: expected a line with the columns' names, then rows, found one line"),
        ("", "", "my: expected rows, found none"),
        ("body\na\n", "--task sst", "my: expected the columns text or sentence, found 'body'"),
        ("text\na\n", "--task sts", "my: expected the columns text, text2"),
        ("text\na\n", "--task sts --text-column text", "my: expected 2 columns of text for sts"),
        ("a,a\nx,y\n", "", "my: expected rows of one form, found several columns of one name"),
        ("text,b\nx,y\nz\n", "", "my after line 2: expected rows of one form, found 1 fields for"),
        ('text\n"x\n', "", "my: expected rows of one form, found unexpected end of data"),
        ('text\nx\n"y" z\n', "", "my after line 2: expected rows of one form"),
        ("text\nx\n\udcff\n", "", "my: expected rows of one form, found 'utf-8'"),
        (
            '{"text": "a"}\n[1]\n',
            "",
            "my after line 1: expected rows of one form, found no JSON object",
        ),
        ('{"text": "a"}\n{', "", "my after line 1: expected rows of one form, found no JSON (Exp"),
        ("PAR1", "", "my: expected a Parquet file, found "),
        ('{"text": ["a", "b"]}', "", "my line 1: expected a text, found that text is a list"),
        ('{"text": "\\ud83d"}', "", "my line 1: expected a text, found that text has half a"),
        ("text,sst_name\na,b\n", "--task sst", "my: expected no column sst_name"),
        ("text\na\n", "--output out.xml", "--output: expected a name that ends in .csv, .tsv"),
        ("text\na\n", "--text2-column b", "--text2-column: expected --text-column beside it"),
        (
            "text\na\n",
            "--text a",
            "--split: expected --split dev or test, or a text to answer, found more",
        ),
        ("text\na\n", "--task all --task sst", "--task: expected one of sst, sts"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    opened: Run, command: Command, tmp_path: Path, content: str, words: str, message: str
) -> None:
    (tmp_path / "my").write_bytes(content.encode("utf-8", "surrogateescape"))
    output = () if "--output" in words else ("--output", "out.csv")
    ended = command("predict", str(opened.path), "--input", "my", *words.split(), *output)
    assert ended.code == 2
    assert all(part in ended.err for part in message.split("|")), ended.err
    assert ended.err.startswith(message.split("|")[0].partition(":")[0])
    assert len(ended.err.splitlines()) == 1
    assert tree(tmp_path) == ["my"]


@pytest.mark.parametrize("separator", [";", "|"])
def test_the_header_says_what_stands_between_columns(
    opened: Run, tmp_path: Path, separator: str
) -> None:
    texts = ["a fine, fine film", "dull"]
    lines = [separator.join(row) for row in (("n", "text"), ("1", texts[0]), ("2", texts[1]))]
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    text_files.predict_file(opened, ["sst"], str(tmp_path / "my.csv"), str(tmp_path / "out.csv"))
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["text"].to_list() == texts
    assert found["n"].to_list() == [1, 2]


def test_options_of_a_file_need_one(opened: Run, command: Command, tmp_path: Path) -> None:
    for words in (("--probabilities",), ("--output", "x.csv"), ("--text-column", "a")):
        ended = command("predict", str(opened.path), "--split", "dev", *words)
        assert ended.err.startswith("--input: expected the file that --output")
    ended = command("predict", str(opened.path), "--input", "gone.csv")
    assert ended.err.startswith("gone.csv: expected a place that can be used")
    assert tree(tmp_path) == []
