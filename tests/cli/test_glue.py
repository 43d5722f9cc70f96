"""GLUE from local files of its form: dev sets, metrics, and the zip that its server takes."""

import shutil
from pathlib import Path
from zipfile import ZipFile

import datasets
import pandas as pd
import pytest

from mtl_bert import Run
from mtl_bert.config.compose import CONF
from mtl_bert.runs.factories import make_tasks
from tests.cli.driving import Command, results_in
from tests.composing import settings_of

TWO = ["sentence1", "sentence2"]
COLUMNS = {
    "cola": ["sentence"],
    "stsb": TWO,
    "rte": TWO,
    "mnli": ["premise", "hypothesis"],
    "ax": ["premise", "hypothesis"],
}
EIGHT = ["cola", "sst2", "mrpc", "qqp_glue", "stsb", "mnli", "qnli", "rte"]


@pytest.fixture
def glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for config, texts in COLUMNS.items():
        (tmp_path / "glue" / config / "data").mkdir(parents=True)
        ends = ["_matched", "_mismatched"] if config == "mnli" else [""]
        sizes = {"train": 24} | {f"{s}{e}": 9 for s in ("validation", "test") for e in ends}
        for split, n in sizes.items():
            label = [i % (3 if config == "mnli" else 2) for i in range(n)]
            hidden = [-1] * n if split.startswith("test") else label
            table = {text: [f"{split} {text} {i}" for i in range(n)] for text in texts}
            table |= {"label": list(map(float, hidden)) if config == "stsb" else hidden}
            name = f"{split}-00000-of-00001.parquet"
            pd.DataFrame(table).to_parquet(tmp_path / "glue" / config / "data" / name)
    return tmp_path / "glue"


def test_a_run_has_both_dev_sets_of_mnli_and_its_zip_is_glues(
    command: Command, glue: Path, tmp_path: Path
) -> None:
    done = command("train", "task=[cola,stsb,rte,mnli]", "data=glue", f"data.dir={glue}",
                   "sampler=rr", "B=16", "batch_size=8", "epochs=1", "trainer.accelerator=cpu",
                   "trainer.threads=1", "hydra.run.dir=run",
                   "trainer.enable_progress_bar=false")  # fmt: skip
    assert done.code == 0, done.err
    results = results_in(tmp_path / "run")
    assert results.more["mnli"]["mismatched"].n == 9
    assert results.tasks["mnli"].n == 9
    stsb = results.tasks["stsb"]
    assert stsb.metrics is not None
    assert (stsb.metric, len(stsb.metrics)) == ("pearson+spearman", 2)
    assert stsb.value == pytest.approx(sum(stsb.metrics.values()) / 2)
    assert results.score == pytest.approx(sum(t.value for t in results.tasks.values()) / 4)
    done = command("predict", "run", "--split", "test")
    assert done.code == 0, done.err
    with ZipFile(tmp_path / "run" / "submission" / "glue.zip") as archive:
        files = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert sorted(files) == ["AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "RTE.tsv",
                             "STS-B.tsv", "WNLI.tsv"]  # fmt: skip
    said = {}
    for name, (header, *rows) in files.items():
        assert header == "index\tprediction"
        count = 146 if name == "WNLI.tsv" else 9
        assert [row.split("\t")[0] for row in rows] == [str(n) for n in range(count)]
        said[name] = {row.split("\t")[1] for row in rows}
    assert said["WNLI.tsv"] == {"0"}
    assert "WNLI.tsv, 146 rows of 0, its training set's majority class, as no task" in done.out
    assert "AX.tsv, 9 rows of" in done.out
    assert "without MRPC.tsv, QNLI.tsv, QQP.tsv, SST-2.tsv, and GLUE's server takes all" in done.out
    assert said["AX.tsv"] <= {"entailment", "neutral", "contradiction"}
    assert said["CoLA.tsv"] <= {"0", "1"}
    assert said["RTE.tsv"] <= {"entailment", "not_entailment"}
    assert said["MNLI-mm.tsv"] <= {"entailment", "neutral", "contradiction"}
    assert all(0 <= float(number) <= 5 for number in said["STS-B.tsv"])
    run = Run.open(tmp_path / "run")
    pairs = [(f"test premise {n}", f"test hypothesis {n}") for n in range(9)]
    answers = run.predict("mnli", pairs)["name"]
    assert [row.split("\t")[1] for row in files["AX.tsv"][1:]] == answers.tolist()

    shutil.rmtree(glue / "ax")  # nobody has to have it
    done = command("predict", "run", "--split", "test", "--task", "mnli", "--task", "cola")
    assert done.code == 0, done.err
    assert "no AX.tsv: data.dir: expected a folder ax in" in done.out
    with ZipFile(tmp_path / "run" / "submission" / "glue.zip") as archive:
        left = ["CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "WNLI.tsv"]
        assert sorted(archive.namelist()) == left


@pytest.mark.parametrize("path", sorted((CONF / "experiment" / "glue").glob("*.yaml")))
def test_its_experiments_have_the_eight_tasks_with_glues_metrics(path: Path) -> None:
    settings = settings_of(f"+experiment/glue={path.stem}")
    tasks = {task.name: task for task in make_tasks(settings)}
    assert list(tasks) == EIGHT
    assert {name: task.scored for name, task in tasks.items()} == {
        **dict.fromkeys(EIGHT, ("accuracy",)), "cola": ("mcc",),
        **dict.fromkeys(["mrpc", "qqp_glue"], ("accuracy", "f1")), "stsb": ("pearson", "spearman"),
    }  # fmt: skip
    assert settings.data.source["name"] == "glue"


def test_a_folder_that_is_not_there_is_said(command: Command, tmp_path: Path) -> None:
    done = command("train", "task=[cola]", "data=glue", f"data.dir={tmp_path}", "sampler=rr")
    assert done.code == 2
    assert done.err.startswith(f"data.dir: expected a folder cola in {tmp_path}, found none; put")
