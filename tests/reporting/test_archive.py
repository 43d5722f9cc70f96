"""Runs in one file: a report of it is a report of the runs, and gives nothing else away."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from mtl_bert import report
from mtl_bert.reporting.archive import ARCHIVE
from mtl_bert.reporting.finding import find_runs
from tests.reporting.factory import Made, make_run

HOME = "/home/somebody/secret"
MADE = Made(override={"data": {"dir": f"{HOME}/cs224n"}, "model": {"path": f"{HOME}/minilm"}})


def published(tmp_path: Path, *made: Made, name: str = "published") -> Path:
    for number, each in enumerate(made):
        make_run(tmp_path / "runs" / f"run{number}", each)
    report.main([str(tmp_path / "runs"), "--publish", "--out", str(tmp_path / name)])
    return tmp_path / name


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


def test_a_report_of_the_archive_is_the_report_of_the_runs(tmp_path: Path) -> None:
    made = [replace(MADE, sampler=name, seed=s) for name in ("rr", "vanilla") for s in (1, 2)]
    first = published(tmp_path, *made, replace(MADE, sampler="random"))
    runs = unpacked(first / ARCHIVE, tmp_path / "unpacked")
    again = tmp_path / "again"
    report.main([str(runs), "--publish", "--out", str(again)])
    assert contents(again) == contents(first)
    assert len(contents(first)) > 10


def test_answers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    runs = unpacked(published(tmp_path, MADE) / ARCHIVE, tmp_path / "unpacked")
    ((before,), _), ((after,), _) = find_runs([tmp_path / "runs"]), find_runs([runs])
    for task in before.results.tasks:
        ours, theirs = before.predictions(task), after.predictions(task)
        assert ours.ids == theirs.ids
        assert (ours.labels == theirs.labels).all()
        assert ours.predictions == pytest.approx(theirs.predictions, rel=1e-8)
        assert set(theirs.texts) == {("(left out)",)}
        assert (ours.confidences is None) == (theirs.confidences is None)
        if ours.confidences is not None and theirs.confidences is not None:
            assert ours.confidences == pytest.approx(theirs.confidences, rel=1e-8, nan_ok=True)


def test_neither_texts_nor_places_get_out(tmp_path: Path) -> None:
    place = published(tmp_path, MADE)
    ((run,), _) = find_runs([tmp_path / "runs"])
    assert HOME in run.results.model_dump_json()
    files = contents(place) | contents(unpacked(place / ARCHIVE, tmp_path / "unpacked"))
    texts = {
        text for task in run.results.tasks for pair in run.predictions(task).texts for text in pair
    }
    assert len(texts) > 10
    for content in files.values():
        assert HOME.encode() not in content
        assert not [text for text in texts if text.encode() in content]
    assert b"DIR/minilm" in files["run0/results.json"]


def test_a_run_without_answers_is_archived_without_them(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "run0", MADE)
    (tmp_path / "runs" / "run0" / "predictions" / "sst.csv").unlink()
    with tarfile.open(published(tmp_path) / ARCHIVE) as tar:
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
