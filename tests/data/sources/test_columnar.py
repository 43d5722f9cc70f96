"""JSON lines and Parquet: the same rows as a delimited file of the same content."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.table import DataError
from mtl_bert.tasks import Binary, MultiClass, MultiLabel, SoftLabels, Task
from tests.factories import assert_tells, make_task

ROWS: list[dict[str, Any]] = [
    {"key": "a", "text": "first", "label": "neg", "tags": ["x", "y"], "p": 0.25, "q": 0.75},
    {"key": "b", "text": "second, with a comma", "label": "pos", "tags": [], "p": 1, "q": 0},
    {"key": "c", "text": "third", "label": None, "tags": ["y"], "p": 0.5, "q": 0.5},
]
SIGNS = Binary(["neg", "pos"])


def task_of(head: Any = SIGNS, **place: Any) -> Task:
    source = {"text": ["text"], "label": "label", "id": "key", "train": "it", **place}
    return make_task(head=head, sources={"files": source})


def read(place: Path, task: Task, split: str = "train"):
    return Delimited("files", str(place), ",").read(task, split)


@pytest.fixture(params=["it.jsonl", "it.parquet", "it.csv"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / request.param
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    elif path.suffix == ".parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    else:
        flat = [{**row, "tags": "|".join(row["tags"])} for row in ROWS]
        pd.DataFrame(flat).to_csv(path, index=False)
    return request.param


def test_names_are_read_and_blanks_are_said_or_left_out(file: str, tmp_path: Path) -> None:
    table = read(tmp_path, task_of(train=file))
    assert table.ids == ("a", "b")
    assert table.texts == (("first",), ("second, with a comma",))
    assert table.labels.tolist() == [0, 1]
    assert [row.partition(": ")[2] for row in table.skipped] == ["label is missing"]
    assert read(tmp_path, task_of(train=file, blanks=True)).skipped == ()


def test_a_column_for_each_class_and_several_labels(file: str, tmp_path: Path) -> None:
    shares = task_of(SoftLabels(["no", "yes"]), train=file, label=["p", "q"])
    assert read(tmp_path, shares).labels.tolist() == [[0.25, 0.75], [1, 0], [0.5, 0.5]]
    tags = task_of(MultiLabel(["x", "y"]), train=file, label="tags", label_separator="|")
    found = read(tmp_path, tags)
    listed = [[1, 1], [0, 0], [0, 1]]  # an empty cell of text may as well be a missing one
    assert found.labels.tolist() == (listed if file != "it.csv" else listed[::2])


def test_one_file_may_have_both_splits_and_no_text_is_in_both(tmp_path: Path) -> None:
    rows = [{"key": str(i), "text": f"text {i % 150}", "label": "neg"} for i in range(300)]
    pd.DataFrame(rows).to_csv(tmp_path / "it.csv", index=False)
    task = task_of(train="it.csv", dev_share=0.2)
    train, dev = (read(tmp_path, task, split) for split in ("train", "dev"))
    assert len(train) + len(dev) == 300
    assert not set(train.texts) & set(dev.texts)
    assert 30 <= len(dev) <= 90
    source = Delimited("files", str(tmp_path), ",")
    keys = {source.fingerprint(task, split) for split in ("train", "dev")}
    assert len({key for _, key in keys}) == 2


@pytest.mark.parametrize(
    ("label", "expected"), [("1", 0), ("2.0", 1), ("5", 2), ("0", None), ("3", None), ("x", None)]
)
def test_numbers_with_gaps_are_what_names_say(
    tmp_path: Path, label: str, expected: int | None
) -> None:
    (tmp_path / "it.csv").write_text(f"key,text,label\na,t,5\nb,t,{label}\n")
    table = read(tmp_path, task_of(MultiClass(["1", "2", "5"]), train="it.csv"))
    assert table.labels.tolist() == [2.0] + ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("head", "place", "parts"),
    [
        (SIGNS, {"label": ["p", "q"]}, ("expected one label column", "['p', 'q']")),
        (SoftLabels(["a", "b", "c"]), {"label": ["p", "q"]}, ("one for each of its names",)),
        (SIGNS, {"label": "other"}, ("expected the columns", "other")),
    ],
)
def test_columns_that_do_not_fit(tmp_path: Path, head: Any, place: Any, parts: Any) -> None:
    pd.DataFrame(ROWS).to_json(tmp_path / "it.jsonl", orient="records", lines=True)
    with pytest.raises(DataError) as refused:
        read(tmp_path, task_of(head, train="it.jsonl", **place))
    assert_tells(refused.value, *parts)


def test_lines_that_are_no_objects_and_files_that_are_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "it.jsonl").write_text(f'{json.dumps(ROWS[0])}\n{{"key": \n[1]\n')
    table = read(tmp_path, task_of(train="it.jsonl"))
    assert [row.split(" (")[0] for row in table.skipped] == [
        "it.jsonl line 2: no JSON",
        "it.jsonl line 3: no JSON object",
    ]
    (tmp_path / "it.parquet").write_text("text,label\n")
    with pytest.raises(DataError) as refused:
        read(tmp_path, task_of(train="it.parquet"))
    assert_tells(refused.value, "it.parquet: expected a Parquet file")
