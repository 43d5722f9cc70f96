"""``mtl-bert predict``: submission files to the byte, and answers to any text."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_bert.config.compose import CONF
from mtl_bert.data.table import Table
from mtl_bert.inference.submission import file_name, file_text
from mtl_bert.runs.factories import make_tasks
from mtl_bert.training import run as running
from tests.cli.driving import Command, results_in, train_here, tree
from tests.composing import settings_of

AWKWARD = "I'd say \"A, b = {c}\" [d] $e ${f} ? 'g' é \N{SNOWMAN} \\n"

# What real files hold: an index column with or without a name, a byte-order mark, CRLF, quotes that
# are doubled or stray, a missing label, a missing second sentence, a line that breaks off.
SST = "\ufeff0\tid\tsentence\tsentiment\r\n" + "".join(
    f"{number}\t{row_id}\t{sentence}\t{label}\r\n"
    for number, (row_id, sentence, label) in enumerate(
        [
            ("b7", "A fine film .", "4"),
            ("a1", '"He said ""no"" twice ."', "0"),
            ("c3", "No label here .", ""),
            ("d4", "Not very good , is it ?", "1"),
        ]
    )
)
STS = "\tid\tsentence1\tsentence2\tsimilarity\n" + "".join(
    f"{number}\t{line}\n"
    for number, line in enumerate(
        [
            "x2\tA man sings .\tA man sings .\t5.0",
            "x1\tA dog .\t\t",
            "x9\tA cat runs .",
            "\tno\tname\t1.0",
        ]
    )
)
TRAIN = {
    "ids-sst-train.csv": "\tid\tsentence\tsentiment\n"
    + "".join(f"{n}\tt{n}\tFilm number {n} is so so .\t{n % 5}\n" for n in range(20)),
    "sts-train.csv": "\tid\tsentence1\tsentence2\tsimilarity\n"
    + "".join(f"{n}\tt{n}\tA man {n} .\tA man .\t{n % 6}.0\n" for n in range(20)),
}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files in the course's format, and those files."""
    place = tmp_path_factory.mktemp("course")
    data = place / "data"
    data.mkdir()
    for name, text in TRAIN.items():
        (data / name).write_text(text, "utf-8")
        (data / name.replace("train", "dev")).write_text(text, "utf-8")
    (data / "ids-sst-test-student.csv").write_text(SST, "utf-8", newline="")
    (data / "sts-test-student.csv").write_text(STS, "utf-8")
    files = ("data=cs224n", f"data.dir={data}", "task=[sst,sts]", "sampler=rr", "lr=1e-2")
    small = ("epochs=1", "batch_size=8", "trainer.threads=1", "trainer.enable_progress_bar=false")
    running.run(settings_of(*files, *small), place / "run")
    return place


def test_the_files_are_the_handouts(
    command: Command, course: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = command("predict", str(course / "run"), "--split", "test", "--out", "here")
    assert ended.code == 0, ended.err
    assert [path for path in tree(tmp_path) if "csv" in path] == [
        "here/sst-test-output.csv",
        "here/sts-test-output.csv",
    ]
    sst = (tmp_path / "here" / "sst-test-output.csv").read_bytes().decode()
    pattern = r"id \t Predicted_Sentiment \nb7 , [0-4] \na1 , [0-4] \nc3 , [0-4] \nd4 , [0-4] \n"
    assert re.fullmatch(pattern, sst)
    sts = (tmp_path / "here" / "sts-test-output.csv").read_bytes().decode()
    number = r"-?\d+\.\d+(?:e-?\d+)?"
    assert re.fullmatch(
        rf"id \t Predicted_Similiary \nx2 , {number} \nx1 , {number} \nx9 , {number} \n", sts
    )
    # Rows that are not whole are predicted and said; a row without a name is only said.
    assert "sts-test-student.csv line 3" in caplog.text
    assert "sentence2 missing" in caplog.text
    assert "sts-test-student.csv line 5" in caplog.text
    assert "they have no prediction" in caplog.text
    assert "sst-test-output.csv: 4 rows" in ended.out


@pytest.mark.parametrize(
    ("task", "header", "written"),
    [
        ("sst", "id \t Predicted_Sentiment \n", lambda p: str(int(float(p)))),
        ("sts", "id \t Predicted_Similiary \n", lambda p: str(np.float32(p))),
    ],
)
def test_they_say_what_the_run_said(
    command: Command, trained: Path, task: str, header: str, written: Callable[[str], str]
) -> None:
    """The dev sets' files hold the predictions that validation left, in the same order."""
    assert command("predict", str(trained), "--split", "dev", "--out", "out").code == 0
    text = (Path("out") / f"{task}-dev-output.csv").read_text("utf-8")
    with (trained / "predictions" / f"{task}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = text.removeprefix(header).splitlines()
    assert len(rows) == len(lines) > 20
    for row, line in zip(rows, lines, strict=True):
        row_id, value = line.removesuffix(" ").split(" , ")
        assert row_id == row["id"]
        assert float(value) == pytest.approx(float(row["prediction"]), abs=2e-5)
        assert value == written(value)


def test_paraphrases_are_written_as_the_handout_prints_them() -> None:
    (qqp,) = make_tasks(settings_of("task=[qqp]"))
    table = Table("here", ("a", "b"), (("x", "y"), ("x", "y")), None)
    assert file_name(qqp, "test") == "para-test-output.csv"
    assert file_text(qqp, table, torch.tensor([-0.3, 2.0])) == (
        "id \t Predicted_Is_Paraphrase \na , 0.0 \nb , 1.0 \n"
    )


def test_a_task_whose_file_is_missing_leaves_nothing(
    command: Command, course: Path, tmp_path: Path
) -> None:
    shutil.copytree(course / "data", tmp_path / "moved")
    (tmp_path / "moved" / "sts-test-student.csv").unlink()
    arguments = [str(course / "run"), "--split", "test", "--data-dir", "moved", "--out", "out"]
    refused = command("predict", *arguments)
    assert refused.code == 2
    assert "sts-test-student.csv: expected a data file of task sts, found nothing" in refused.err
    assert refused.err.endswith("write another data.dir or leave the task out\n")
    assert not (tmp_path / "out").exists()
    assert command("predict", *arguments, "--task", "sst").code == 0
    assert tree(tmp_path / "out") == ["sst-test-output.csv"]


def test_a_file_that_cannot_be_written_leaves_the_others(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "sst-dev-output.csv").write_text("old")
    (out / "sts-dev-output.csv").mkdir()
    refused = command("predict", str(trained), "--split", "dev", "--out", "out")
    assert refused.code == 2
    assert refused.err.startswith("out/sts-dev-output.csv: expected a place that can be used")
    assert (out / "sst-dev-output.csv").read_text() == "old"
    assert not [path for path in tree(out) if path.startswith(".")]


@pytest.mark.parametrize("text", [AWKWARD, "x", "a=b=c"])
def test_any_text_is_answered(command: Command, trained: Path, text: str) -> None:
    ended = command("predict", str(trained), "--task", "sst", f"--text={text}")
    assert ended.code == 0, ended.err
    first, *chances = ended.out.splitlines()
    named = re.fullmatch(r"([a-z ]+) \((\d+\.\d)%\)", first)
    assert named
    listed = dict(reversed(line.split(maxsplit=1)) for line in chances[:5])
    names = ["negative", "somewhat negative", "neutral", "somewhat positive", "positive"]
    assert list(listed) == names
    assert listed[named[1]] == f"{named[2]}%"
    assert sum(float(c.rstrip("%")) for c in listed.values()) == pytest.approx(100, abs=0.3)
    assert max(float(c.rstrip("%")) for c in listed.values()) == float(named[2])
    assert any("synthetic" in note for note in chances[5:])


def test_one_answer_is_the_files(command: Command, course: Path) -> None:
    """Each row of a file, asked for by itself, gets the answer that stands in the file."""
    run = str(course / "run")
    assert command("predict", run, "--split", "test", "--out", "out").code == 0
    lines = Path("out/sts-test-output.csv").read_text("utf-8").splitlines()[1:]
    answer = command(
        "predict", run, "--task", "sts", "--text", "A man sings .", "--text2", "A man sings ."
    ).out
    assert float(answer.split()[0]) == pytest.approx(float(lines[0].split(" , ")[1]), abs=1e-3)
    assert "on the scale from 0 to 5" in answer


def test_one_encoder_per_task_answers_too(command: Command, tmp_path: Path) -> None:
    results = train_here(tmp_path / "run", "sampler=single")
    assert command("predict", "run", "--split", "dev").code == 0
    assert tree(tmp_path / "run" / "submission") == ["sst-dev-output.csv", "sts-dev-output.csv"]
    lines = (tmp_path / "run/submission/sst-dev-output.csv").read_text("utf-8").splitlines()[1:]
    with (tmp_path / "run/predictions/sst.csv").open(encoding="utf-8", newline="") as file:
        expected = [row["prediction"] for row in csv.DictReader(file)]
    assert [line.split(" , ")[1].strip() for line in lines] == expected
    assert results.config["sampler"]["name"] == "single"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--split test", "RUN: expected the folder of a finished run, found nothing"),
        ("gone --split test", "RUN: expected the folder of a finished run, found no"),
        ("{run}", "--split: expected --split dev or test, or a text to answer, found neither"),
        ("{run} --split dev --text a", "--split: expected --split dev or test, or a text"),
        ("{run} --split train", "--split: expected dev or test, found 'train'"),
        ("{run} --split dev --task qqp", "--task: expected one of sst, sts"),
        ("{run} --text a", "--task: expected one, found sst, sts; write --task sst"),
        ("{run} --task sts --text a", "--text: expected --text and --text2 for sts, found --text;"),
        ("{run} --task sst --text a --text2 b", "--text: expected --text alone for sst"),
        ("{run} --task sst --text=", "--text: expected --text alone for sst, found none"),
        ("{run} --split dev --data-dir x", "--data-dir: expected no value, as the run's data"),
        ("{run} --splt dev", "--splt: expected an option, found --splt; did you mean --split?"),
        (
            "{run} --split dev --checkpoint first",
            "--checkpoint: expected best or last, found 'first'",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    command: Command, trained: Path, tmp_path: Path, arguments: str, message: str
) -> None:
    before = tree(trained)
    outcome = command("predict", *arguments.format(run=trained).split())
    assert outcome.code == 2
    assert outcome.err.startswith(message)
    assert len(outcome.err.splitlines()) == 1
    assert tree(trained) == before
    assert tree(tmp_path) == []


def test_every_task_says_how_its_submission_is_called() -> None:
    for path in (CONF / "task").glob("*.yaml"):
        assert "submission:" in path.read_text("utf-8")


def test_predictions_have_a_confidence(trained: Path) -> None:
    for task in results_in(trained).tasks:
        with (trained / "predictions" / f"{task}.csv").open(encoding="utf-8", newline="") as file:
            found = {row["confidence"] for row in csv.DictReader(file)}
        if task == "sts":
            assert found == {""}
        else:
            assert all(0.2 <= float(value) <= 1 for value in found)
            assert len(found) > 10
