"""What is published can be made again from its archive, and gives nothing else away."""

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtl_bert import report
from mtl_bert.analysis import publishing
from mtl_bert.analysis.columns import FRAMES, names
from mtl_bert.analysis.frames import read
from tests.analysis.factory import Made, changed, make_run

HOME = "/home/somebody/secret"
MADE = Made(override={"data": {"dir": f"{HOME}/cs224n"}, "model": {"path": f"{HOME}/minilm"}})


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


def publish(runs: Path, out: Path) -> Path:
    report.main([str(runs), "--publish", "--out", str(out)])
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        report.main(list(arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published") / "runs"
    made = [replace(MADE, sampler=name, seed=s) for name in ("rr", "vanilla") for s in (1, 2)]
    for number, each in enumerate([*made, replace(MADE, sampler="random")]):
        make_run(root / f"run{number}", each)
    data = json.loads((root / "run0" / "results.json").read_text("utf-8"))["data"]
    changed(
        root / "run0", data=data | {"skipped": {f"{HOME}/quora-dev.csv": 2}},
        overrides=["sampler=rr", f"data.dir={HOME}/cs224n"],
    )  # fmt: skip
    return root


@pytest.fixture(scope="module")
def published(runs: Path) -> Path:
    return publish(runs, runs.parent / "out")


def test_a_report_of_the_archive_is_the_report_of_the_runs(published: Path, tmp_path: Path) -> None:
    again = publish(unpacked(published / "runs.tar.xz", tmp_path / "unpacked"), tmp_path / "again")
    assert contents(again) == contents(published)
    assert len(contents(published)) > 10


def test_neither_texts_nor_places_get_out(runs: Path, published: Path, tmp_path: Path) -> None:
    files = contents(published) | contents(unpacked(published / "runs.tar.xz", tmp_path))
    whole = read(runs)
    texts = set(whole.predictions()[["text", "text2"]].stack().dropna())
    assert len(texts) > 100
    assert not [name for name in files if "mistakes" in name]
    for name, content in files.items():
        assert HOME.encode() not in content, name
        assert str(runs.parent).encode() not in content, name
        assert not [text for text in texts if text.encode() in content], name
    assert b"DIR/minilm" in files["run0/results.json"]
    assert b"DIR/quora-dev.csv" in files["run0/results.json"]
    assert b"data.dir=DIR/cs224n" in files["run0/results.json"]


def test_answers_are_kept_to_the_last_digit(runs: Path, published: Path, tmp_path: Path) -> None:
    after = read(unpacked(published / "runs.tar.xz", tmp_path)).predictions()
    before = read(runs).predictions()
    kept = ["run", "task", "id", "label", "prediction", "confidence"]
    pd.testing.assert_frame_equal(after[kept], before[kept])
    assert set(after["text"]) == {"(left out)"}


def test_the_markdown_links_figures_that_there_are(published: Path) -> None:
    text = (published / "report.md").read_text("utf-8")
    linked = set(re.findall(r"\]\((figures/.*?\.svg)\)", text))
    figures = {p.relative_to(published).as_posix() for p in (published / "figures").iterdir()}
    assert linked == figures
    assert len(figures) > 5


def test_what_an_older_report_left_goes_and_other_files_stay(published: Path) -> None:
    before = contents(published)
    for name in ("tables/z-gone.csv", "figures/z-gone.svg", "README.md"):
        (published / name).write_text("old", "utf-8")
    page = read(unpacked(published / "runs.tar.xz", published.parent / "once-more"))
    publishing.publish_report(publishing.Page(()), page.runs, published)
    left = set(contents(published))
    assert "README.md" in left
    assert not {name for name in left if name.startswith(("tables/", "figures/"))}
    (published / "README.md").unlink()
    for name, content in before.items():
        (published / name).write_bytes(content)


def test_nothing_is_published_beside_texts_or_under_one_name(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("with texts", "utf-8")
    assert refused(capsys, str(runs), "--publish") == (
        "--publish: expected a directory of its own, found no --out; write --out DIR\n"
    )
    assert "a directory without a whole report" in refused(
        capsys, str(runs), "--publish", "--out", str(tmp_path)
    )


def test_runs_of_one_name_are_published_beside_each_other(tmp_path: Path) -> None:
    for seed, place in enumerate(("a", "b")):
        make_run(tmp_path / place / "runs" / "same", replace(MADE, seed=seed))
    out = tmp_path / "out"
    report.main([*(str(tmp_path / place / "runs") for place in ("a", "b")),
                 "--publish", "--out", str(out)])  # fmt: skip
    found = read(unpacked(out / "runs.tar.xz", tmp_path / "again")).runs
    assert list(found["run"]) == ["runs/same", "runs/same (1)"]
    assert list(found["seed"]) == [0, 1]


def test_what_is_wrong_is_said_in_a_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file", "utf-8")
    for arguments, told in (
        ((str(tmp_path),), "found none that can be used below"),
        ((str(tmp_path / "nowhere"),), "expected a directory with runs"),
        ((str(runs), "--run", str(tmp_path)), "--run: expected the directory of a finished run"),
        ((str(runs), "--baseline", "nobody"), "--baseline: expected one of RR; vanilla"),
        ((str(runs), "--out", str(tmp_path / "taken" / "out")), str(tmp_path / "taken")),
        ((str(runs), "--margin", "-1"), "--margin"),
    ):
        message = refused(capsys, *arguments)
        assert message.count("\n") == 1
        assert told in message


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_frames_are_written_as_declared(runs: Path, tmp_path: Path, kind: str) -> None:
    report.main([str(runs), "--to", kind, "--out", str(tmp_path)])
    load = pd.read_csv if kind == "csv" else pd.read_parquet
    frames = read(runs)
    found = {path.stem: load(path) for path in tmp_path.iterdir()}
    assert set(found) == set(FRAMES) - {"leaderboard", "differences"}
    for name, frame in found.items():
        assert list(frame) == names(name)
    for name in ("score", "minutes"):
        assert np.allclose(found["runs"][name], frames.runs[name], rtol=1e-12)
    assert json.loads(found["runs"]["overrides"][0]) == ["sampler=rr", f"data.dir={HOME}/cs224n"]


def test_figures_are_drawn_on_demand(runs: Path, tmp_path: Path) -> None:
    report.main([str(runs), "--figures", "--out", str(tmp_path)])
    kinds = {path.suffix for path in (tmp_path / "figures").iterdir()}
    assert kinds == {".svg", ".png"}
    for path in (tmp_path / "figures").glob("*.svg"):
        text = path.read_text("utf-8")
        assert text.startswith("<svg")
        assert "synthetic" in text
