"""Every row that has an id is there to be predicted, in the file's order."""

import logging
from pathlib import Path

import pytest

from mtl_bert.data.corpus import Corpus
from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.sources.synthetic import Synthetic
from mtl_bert.data.table import DataError, Table
from tests.factories import assert_tells, make_task

PAIR = {"id": "id", "text": ["a", "b"], "label": "label"}
REPLACED = "\N{REPLACEMENT CHARACTER}"


def sources(name: str = "file.tsv") -> dict[str, dict[str, object]]:
    return {"files": {"train": name, "dev": name, "test": name, **PAIR}}


def read(place: Path, content: str | bytes, split: str = "dev") -> Table:
    raw = content if isinstance(content, bytes) else content.encode()
    (place / "file.tsv").write_bytes(raw)
    return Delimited("files", str(place)).read(
        make_task(pair=True, sources=sources()), split, whole=False
    )


@pytest.mark.parametrize(
    ("row", "texts", "problem"),
    [
        ("r\tone\ttwo\t1", ("one", "two"), None),
        ("r\tone\ttwo\t", ("one", "two"), None),  # nothing is asked of labels
        ("r\tone\ttwo\t7", ("one", "two"), None),
        ("r\tone\t\t1", ("one", ""), "b missing"),
        ("r\t\ttwo\t1", ("", "two"), "a missing"),
        ("r\t \t\t", ("", ""), "a and b missing"),
        ("r\tone\ttwo", ("one", "two"), "expected 4 fields, found 3"),
        ("r\tone", ("one", ""), "expected 4 fields, found 2"),
        ("r", ("", ""), "expected 4 fields, found 1"),
        ("r\tone\ttwo\t1\tmore", ("one", "two"), "expected 4 fields, found 5"),
        ('r\t"one\ttwo\t1', ("one", "two"), "a quote that is not closed"),
        ('r\t"o ""n"" e"\t"t\two"\t1', ('o "n" e', "t\two"), None),
        (b"r\tcaf\xe9\ttwo\t1", (f"caf{REPLACED}", "two"), "text that is not UTF-8"),
    ],
)
def test_rows_that_training_would_skip_are_kept_and_reported(
    tmp_path: Path, row: str | bytes, texts: tuple[str, ...], problem: str | None
) -> None:
    raw = row if isinstance(row, bytes) else row.encode()
    table = read(tmp_path, b"id\ta\tb\tlabel\nq\tx\ty\t1\n" + raw + b"\ns\tx\ty\t0\n")
    assert table.ids == ("q", "r", "s")
    assert table.texts == (("x", "y"), texts, ("x", "y"))
    assert table.labels is None
    assert table.skipped == ()
    told = [f"file.tsv line 3: {problem}"] if problem else []
    assert [str(row) for row in table.incomplete] == told
    table.texts[1][0].encode()  # can be tokenized


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"\tone\ttwo\t1", "id is missing"),
        (b"\tone", "id is missing"),
        (b"caf\xe9\tone\ttwo\t1", "id 'caf\\udce9' is not a name"),
        (b'"two\nlines"\tone\ttwo\t1', "id 'two\\nlines' is not a name"),
    ],
)
def test_rows_without_a_readable_id_are_reported(tmp_path: Path, row: bytes, problem: str) -> None:
    table = read(tmp_path, b"id\ta\tb\tlabel\nq\tx\ty\t1\n" + row + b"\ns\tx\ty\t0\n")
    assert table.ids == ("q", "s")
    assert [str(row) for row in table.skipped] == [f"file.tsv line 3: {problem}"]
    assert table.incomplete == ()


def test_awkward_files(tmp_path: Path) -> None:
    """A byte-order mark, CRLF, an index column named 0, ids that repeat, and no label."""
    table = read(
        tmp_path,
        "\ufeff0\t\tid\ta\tb\r\n1\t0.0\tz\tone\ttwo\r\n\r\n2\t1.0\ty\tthree\t\r\n3\t2.0\tz\tx\ty",
        split="test",
    )
    assert table.ids == ("z", "y", "z")
    assert table.texts == (("one", "two"), ("three", ""), ("x", "y"))
    assert [str(row) for row in table.incomplete] == ["file.tsv line 4: b missing"]


def test_no_row_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, "id\ta\tb\n\tone\ttwo\n", split="test")
    assert_tells(raised.value, "file.tsv", "toy", "line 2: id is missing")


def test_what_is_not_whole_is_said_by_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["id\ta\tb\tlabel", "q\tone\t\t1", "\tone\ttwo\t1", "r\tone\ttwo\t1"]
    (tmp_path / "file.tsv").write_text("\n".join(lines))
    task = make_task(pair=True, sources=sources())
    with caplog.at_level(logging.WARNING):
        tables = Corpus(Delimited("files", str(tmp_path)), [task], 0).rows("dev")
    assert tables["toy"].ids == ("q", "r")
    place = tmp_path / "file.tsv"
    assert caplog.messages == [
        f"{place}: 1 of 3 rows cannot be named (file.tsv line 3: id is missing); "
        "they have no prediction",
        f"{place}: 1 of 3 rows are not whole (file.tsv line 2: b missing); "
        "they are predicted from what there is",
    ]


def test_a_missing_file_leaves_nothing_to_predict(tmp_path: Path) -> None:
    (tmp_path / "file.tsv").write_text("id\ta\tb\nq\tone\ttwo\n")
    source = Delimited("files", str(tmp_path))
    here = [make_task(name, pair=True, sources=sources()) for name in ("first", "third")]
    gone = make_task("second", pair=True, sources=sources("gone.tsv"))
    with pytest.raises(DataError) as raised:
        Corpus(source, [here[0], gone, here[1]], 0).rows("test")
    assert_tells(raised.value, "gone.tsv", "second", "another data.dir or leave the task out")


def test_made_up_text_is_whole(tmp_path: Path) -> None:
    made = {"made": {"make": lambda n, _: [(("a",), 1.0)] * n, "train": 9, "dev": 3}}
    source, task = Synthetic("made", 1), make_task(sources=made)
    for split in ("dev", "test"):
        table = source.read(task, split, whole=False)
        assert (table.texts, table.labels) == (source.read(task, split).texts, None)
        assert table.ids == tuple(f"{split}-{number}" for number in range(3))
