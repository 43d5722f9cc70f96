"""Runs in one file: a report of it is a report of the runs, and gives nothing else away."""

import csv
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtl_bert import report
from mtl_bert.analysis.comparison import compare
from mtl_bert.analysis.render import ARCHIVE, csv_text, write_archive
from mtl_bert.analysis.run_files import find_runs
from mtl_bert.analysis.old_statistics import pearson
from mtl_bert.analysis.studies import studies
from mtl_bert.utils.files import write_text
from tests.analysis.factory import Made, changed, make_run

HOME = "/home/somebody/secret"
MADE = Made(override={"data": {"dir": f"{HOME}/cs224n"}, "model": {"path": f"{HOME}/minilm"}})


def published(tmp_path: Path, *made: Made, name: str = "published") -> Path:
    for number, each in enumerate(made):
        make_run(tmp_path / "runs" / f"run{number}", each)
    report.main([str(tmp_path / "runs"), "--publish", "--out", str(tmp_path / name)])
    return tmp_path / name


def archived(runs: Path, place: Path) -> Path:
    """The archive alone, without a report to draw."""
    write_archive(find_runs([runs])[0], place)
    return place


def unpacked(archive: Path, place: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    return place


def contents(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def labelled(run: Path) -> None:
    """Give an example of STS a label of as many digits as the real ones have."""
    path = run / "predictions" / "sts.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    rows[0]["label"] = "2.11111111111111"
    write_text(path, csv_text(rows))
    labels, predictions = ([float(row[key]) for row in rows] for key in ("label", "prediction"))
    content = json.loads((run / "results.json").read_text("utf-8"))
    content["tasks"]["sts"]["value"] = float(pearson(np.array(labels), np.array(predictions)))
    changed(run, tasks=content["tasks"])


def test_a_report_of_the_archive_is_the_report_of_the_runs(tmp_path: Path) -> None:
    made = [replace(MADE, sampler=name, seed=s) for name in ("rr", "vanilla") for s in (1, 2)]
    first = published(tmp_path, *made, replace(MADE, sampler="random"))
    runs = unpacked(first / ARCHIVE, tmp_path / "unpacked")
    again = tmp_path / "again"
    report.main([str(runs), "--publish", "--out", str(again)])
    assert contents(again) == contents(first)
    assert len(contents(first)) > 10


def test_runs_of_the_archive_stand_beside_others(tmp_path: Path) -> None:
    for seed in (1, 2):
        labelled(make_run(tmp_path / "theirs" / f"rr{seed}", replace(MADE, seed=seed)))
        other = replace(MADE, sampler="annealed", seed=seed)
        labelled(make_run(tmp_path / "ours" / f"annealed{seed}", other))
    theirs = unpacked(archived(tmp_path / "theirs", tmp_path / ARCHIVE), tmp_path / "unpacked")
    both, _ = find_runs([theirs, tmp_path / "ours"])
    (study,) = studies(both)
    compared = compare(study, study.main)
    assert compared.excluded == ()
    assert [len(methods) for methods in compared.resampled.values()] == [2, 2, 2, 2]


def test_answers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "run0", MADE)
    runs = unpacked(archived(tmp_path / "runs", tmp_path / ARCHIVE), tmp_path / "unpacked")
    ((before,), _), ((after,), _) = find_runs([tmp_path / "runs"]), find_runs([runs])
    for task in before.results.tasks:
        ours, theirs = before.predictions(task), after.predictions(task)
        assert ours[["id", "label"]].equals(theirs[["id", "label"]])
        assert set(theirs["text"]) == {"(left out)"}
        for column in ("prediction", "confidence"):
            near = pytest.approx(theirs[column].to_numpy(), rel=1e-8, nan_ok=True)
            assert ours[column].to_numpy() == near


def test_neither_texts_nor_places_get_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "run0", MADE)
    data = json.loads((run / "results.json").read_text("utf-8"))["data"]
    changed(
        run, data=data | {"skipped": {f"{HOME}/quora-dev.csv": 2}},
        overrides=["sampler=rr", f"data.dir={HOME}/cs224n"],
    )  # fmt: skip
    write_text(tmp_path / "runs" / "damaged" / "results.json", "{}")
    place = published(tmp_path)
    ((found,), _) = find_runs([tmp_path / "runs"])
    assert HOME in found.results.model_dump_json()
    files = contents(place) | contents(unpacked(place / ARCHIVE, tmp_path / "unpacked"))
    answers = [found.predictions(task).filter(like="text") for task in found.results.tasks]
    texts = {text for each in answers for text in each.to_numpy().flat}
    assert len(texts) > 10
    for content in files.values():
        assert HOME.encode() not in content
        assert str(tmp_path).encode() not in content
        assert not [text for text in texts if text.encode() in content]
    assert b"DIR/minilm" in files["run0/results.json"]
    assert b"DIR/quora-dev.csv" in files["run0/results.json"]
    assert b"data.dir=DIR/cs224n" in files["run0/results.json"]


def test_a_run_without_answers_is_archived_without_them(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "run0", MADE)
    (tmp_path / "runs" / "run0" / "predictions" / "sst.csv").unlink()
    with tarfile.open(archived(tmp_path / "runs", tmp_path / ARCHIVE)) as tar:
        assert tar.getnames() == ["run0/results.json", *(
            f"run0/predictions/{task}.csv" for task in ("qqp", "sts")
        )]  # fmt: skip


def test_runs_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("a", "b"):
        make_run(tmp_path / place / "runs" / "same", MADE)
    places = [str(tmp_path / place / "runs") for place in ("a", "b")]
    with pytest.raises(SystemExit) as ended:
        report.main([*places, "--publish", "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "--publish: expected runs of different names, found 2 of runs/same; "
        "rename one of the DIRs\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_what_an_older_report_left_goes_and_other_files_stay(tmp_path: Path) -> None:
    write_text(tmp_path / "published" / "tables" / "mine.csv", "mine")
    first = published(tmp_path, MADE)
    assert (first / "tables" / "mine.csv").exists()
    (first / "tables" / "mine.csv").unlink()
    (first / "tables" / "z-gone.csv").write_text("old", "utf-8")
    (first / "figures" / "z-gone.svg").write_text("old", "utf-8")
    (first / "README.md").write_text("mine", "utf-8")
    before = contents(first)
    assert contents(published(tmp_path)) == {
        name: content for name, content in before.items() if "z-gone" not in name
    }


def test_nothing_is_published_beside_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs" / "run0", MADE)
    whole = tmp_path / "runs" / "report"
    whole.mkdir()
    (whole / "index.html").write_text("with texts", "utf-8")
    for more, message in (
        ([], "--publish: expected a directory of its own, found no --out; write --out DIR\n"),
        (
            ["--out", str(whole)],
            "--out: expected a directory without a whole report, whose pages have the data's "
            f"texts, found {whole / 'index.html'}; write another --out DIR\n",
        ),
    ):
        with pytest.raises(SystemExit) as ended:
            report.main([str(tmp_path / "runs"), "--publish", *more])
        assert ended.value.code == 2
        assert capsys.readouterr().err == message
    assert contents(whole) == {"index.html": b"with texts"}


def test_a_directory_is_known_by_its_name_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs" / "run0", MADE)
    monkeypatch.chdir(run)
    names = [[found.name for found in find_runs(map(Path, roots))[0]] for roots in ([".."], ["."])]
    assert names == [["run0"], ["run0"]]
    make_run(tmp_path / "others" / "run1", replace(MADE, seed=2))
    found, _ = find_runs([Path(".."), Path("../../others")])
    assert [each.name for each in found] == ["runs/run0", "others/run1"]
