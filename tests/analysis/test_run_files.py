"""Reading what runs left: whole, damaged, old and foreign."""

import json
from pathlib import Path

import pytest

from mtl_bert.analysis.run_files import UnusableError, find_runs, read_run
from tests.analysis.factory import Made, changed, damaged, make_run


def test_runs_are_found_wherever_they_lie_and_once(tmp_path: Path) -> None:
    make_run(tmp_path / "a" / "deep", Made())
    make_run(tmp_path / "b", Made(seed=2))
    runs, warnings = find_runs([tmp_path, tmp_path / "b"])
    assert [run.name for run in runs] == [f"{tmp_path.name}/a/deep", f"{tmp_path.name}/b"]
    assert warnings == []
    assert [run.name for run in find_runs([tmp_path / "b"])[0]] == ["b"]


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        ('{"config": ', "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[]", "object"),
        ('{"score": 3}', "config: Field required"),
    ],
)
def test_what_is_no_results_file_is_named_in_one_line(tmp_path: Path, text: str, gist: str) -> None:
    make_run(tmp_path / "good", Made())
    damaged(tmp_path / "bad", text)
    runs, (warning,) = find_runs([tmp_path])
    assert [run.name for run in runs] == ["good"]
    assert warning.startswith(f"{tmp_path / 'bad' / 'results.json'}: expected the results of")
    assert gist in warning
    assert "\n" not in warning


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    assert len(find_runs([tmp_path])[1]) == 1


@pytest.mark.parametrize("key", ["sampler", "tasks", "epochs", "trainer", "surgery"])
def test_a_configuration_of_something_else_is_left_out(tmp_path: Path, key: str) -> None:
    make_run(tmp_path, Made())
    config = json.loads((tmp_path / "results.json").read_text("utf-8"))["config"]
    for broken in ({k: v for k, v in config.items() if k != key}, {**config, key: None}):
        changed(tmp_path, config=broken)
        with pytest.raises(UnusableError, match="expected a configuration of this"):
            read_run(tmp_path, tmp_path)


def test_a_task_that_the_configuration_does_not_have(tmp_path: Path) -> None:
    make_run(tmp_path, Made())
    config = json.loads((tmp_path / "results.json").read_text("utf-8"))["config"]
    changed(tmp_path, config={**config, "tasks": {}})
    with pytest.raises(UnusableError, match=r"found another .*sst"):
        read_run(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("group", "content"),
    [
        ("surgery", {"method": 3, "scope": {"_target_": 1}}),
        ("tasks", {"sst": {"head": {"_target_": "MultiClass"}}, "qqp": {}, "sts": {}}),
        ("tasks", {"sst": 1, "qqp": 2, "sts": 3}),
        ("trainer", {"devices": None}),
        ("lambda", "much"),
        ("B", "all"),
    ],
)
def test_a_configuration_of_another_make_is_left_out(
    tmp_path: Path, group: str, content: object
) -> None:
    make_run(tmp_path, Made("arrp", B=10, lambda_=0.5))
    config = json.loads((tmp_path / "results.json").read_text("utf-8"))["config"]
    changed(tmp_path, config={**config, group: content})
    runs, warnings = find_runs([tmp_path])
    assert len(runs) + len(warnings) == 1
    if group != "surgery":  # a method of any form has a name
        (warning,) = warnings
        assert "expected a configuration of this program, found another" in warning
        assert "\n" not in warning


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path, Made()), tmp_path)
    pairs, numbers = run.predictions("qqp"), run.predictions("sts")
    columns = ["id", "text", "text2", "label", "prediction", "confidence"]
    assert list(pairs) == columns
    assert len(pairs) == 400
    assert pairs["text2"][3] == "Number 3, what is it about?"
    assert ((pairs["confidence"] > 0.5) & (pairs["confidence"] <= 1)).all()
    assert numbers["confidence"].isna().all()
    assert "text2" not in run.predictions("sst")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,text,prediction,confidence\n1,a,0,1\n", "no column label"),
        ("id,text,label,prediction,confidence\n1,a,0\n", "no number"),
        ("id,text,label,prediction,confidence\n1,a,0,1,1,1\n", "longer than its heading"),
        ("id,text,label,prediction,confidence\n1,a,x,0,1\n", "no number"),
        ("id,text,label,prediction,confidence\n", "no labels"),
        ("id,text,label,prediction,confidence\n1,a,nan,0,1\n", "no labels"),
        ('id,text,label,prediction,confidence\n1,"a', "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_damaged_predictions_say_why(tmp_path: Path, content: str, reason: str) -> None:
    run = read_run(make_run(tmp_path, Made()), tmp_path)
    (tmp_path / "predictions" / "sst.csv").write_text(content, "utf-8")
    for _ in range(2):  # the second time from memory
        with pytest.raises(UnusableError, match=reason):
            run.predictions("sst")
