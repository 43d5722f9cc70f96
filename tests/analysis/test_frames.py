"""Frames of runs: their columns, names, what belongs together, and files that are no runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mtl_bert import analysis
from mtl_bert.analysis import columns
from mtl_bert.analysis.frames import PER_RUN, Frames, read
from mtl_bert.config.settings import ModelSettings
from mtl_bert.runs.answers import LEFT_OUT, UnusableError
from mtl_bert.runs.methods import ADAPTER
from mtl_bert.utils.errors import UserError
from tests.analysis.conflicting import quarrel
from tests.analysis.factory import Made, changed, damaged, make_run

TASKS = ("sst", "qqp", "sts")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of two methods, one run anew; another learning rate; and what is no run."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        make_run(root / f"rr{seed}", Made(seed=seed, phases=quarrel(TASKS, 3)))
        make_run(root / f"arrp{seed}", Made(sampler="arrp", B=40, lambda_=0.5, seed=seed))
    make_run(
        root / "rr1-again", Made(seed=1, later=9, accuracies={"sst": 0.6, "qqp": 0.7, "sts": 0.8})
    )
    make_run(root / "other", Made(lr=1e-3, synthetic=False, data="mine", seen={"sst": ["SST-2"]}))
    damaged(root / "cut-off")
    return root


@pytest.fixture(scope="module")
def frames(root: Path) -> Frames:
    return read(root)


def test_every_column_is_declared(frames: Frames) -> None:
    for name in columns.FRAMES:
        if name in ("leaderboard", "differences"):
            continue
        found = frames.predictions() if name == "predictions" else getattr(frames, name)
        assert list(found) == columns.names(name)
        assert len(found)
        for column in found:
            dtype = columns.COLUMNS[column].dtype
            assert str(found[column].dtype).removesuffix("64") == dtype.removesuffix("64"), column


def test_the_page_of_frames_is_made_from_them() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "frames.md"
    again = "from mtl_bert.analysis.columns import reference; print(reference())"
    assert page.read_text("utf-8") == columns.reference() + "\n", f'python -c "{again}" > {page}'


def test_runs_keep_what_results_say(frames: Frames, root: Path) -> None:
    for row in frames.runs.to_dict("records"):
        results = json.loads((Path(row["directory"]) / "results.json").read_text("utf-8"))
        assert row["score"] == results["score"]
        assert row["seed"] == results["seed"]
        assert row["minutes"] == results["minutes_per_epoch"]
        own = frames.scores[frames.scores["run"] == row["run"]].set_index("task")
        assert own["value"].to_dict() == {t: s["value"] for t, s in results["tasks"].items()}
        assert row["score"] == pytest.approx(own["unit"].mean())
        assert (row["worst_task"], row["worst"]) == (own["unit"].idxmin(), own["unit"].min())
        epochs = frames.epochs[frames.epochs["run"] == row["run"]]
        assert len(epochs) == 3 * len(results["epochs"])
        seen = epochs.drop_duplicates("epoch")["examples_so_far"].diff().dropna()
        assert list(seen) == [
            sum(p["examples"] for p in e["phases"]) for e in results["epochs"][1:]
        ]


def test_what_is_no_run_is_left_out_with_a_line(frames: Frames) -> None:
    (warning,) = frames.warnings
    assert "cut-off/results.json: expected the results of a finished run" in warning
    assert "\n" not in warning
    assert warning.endswith("left out")


HOSTILE = {
    "a number as a name": ("config", {"sampler": {"name": 7}}),
    "no schema": ("config", []),
    "huge B": ("config", {"B": 10**40}),
    "B in words": ("config", {"B": "24k"}),
    "no range": ("config", {"tasks": {"sst": {"score": {"low": 1, "high": 1}}}}),
    "another task": ("config", {"tasks": {"other": {}}}),
    "huge steps": ("overflows", 2**70),
    "a future": ("finished", "not today"),
    "half an example": ("config", {"B": 24.5}),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_run_keeps_no_other_from_being_read(what: str, tmp_path: Path) -> None:
    good = make_run(tmp_path / "good", Made())
    bad = make_run(tmp_path / "bad", Made(seed=2))
    key, value = HOSTILE[what]
    if isinstance(value, dict):
        value = json.loads((bad / "results.json").read_text("utf-8"))[key] | value
    changed(bad, **{key: value})
    found = read(tmp_path)
    assert list(found.runs["run"]) == ["good"]
    assert len(found.warnings) == 1
    assert list(read(good).runs["run"]) == ["good"]  # a run's own directory has its name


def test_a_run_is_superseded_by_a_newer_one_of_the_same(frames: Frames) -> None:
    assert list(frames.runs.loc[frames.runs["superseded"], "run"]) == ["rr1"]
    own, _ = frames.of("A")
    assert set(own.runs["run"]) == {"rr2", "rr1-again", "arrp1", "arrp2"}
    assert set(own.epochs["run"]) == set(own.runs["run"])


@pytest.mark.parametrize(
    "other",
    [
        {"trainer": {"patience": 1}},
        {"callbacks": {"time_limit": {"_target_": "x"}}},
        {"tasks": {"sst": {"batch_size": 16}}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_runs_that_end_or_step_otherwise_are_no_repetitions(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    make_run(tmp_path / "one", Made())
    make_run(tmp_path / "two", Made())
    config = json.loads((tmp_path / "two" / "results.json").read_text("utf-8"))["config"]
    for group, more in other.items():
        for key, value in more.items():
            before = config.get(group, {}).get(key)
            merged = {**before, **value} if isinstance(before, dict) else value
            config[group] = {**config.get(group, {}), key: merged}
    changed(tmp_path / "two", config=config)
    found = read(tmp_path)
    assert not found.runs["superseded"].any()
    assert list(found.settings["runs"]) == [1, 1]


def test_only_runs_of_one_setting_stand_together(frames: Frames) -> None:
    rows = frames.settings.set_index("setting")
    assert list(rows["runs"]) == [4, 1]
    assert rows["main_epochs"].to_list() == [3, 3]
    assert dict(rows["badges"]["A"]).keys() == {"synthetic", "partial"}
    assert dict(rows["badges"]["B"]).keys() == {"partial", "contaminated"}
    assert "SST-2" in rows["about"]["B"]
    assert "lr" not in rows["title"]["A"]
    assert not frames.runs["like_the_paper"].any()


def test_settings_are_told_apart_by_what_they_differ_in(tmp_path: Path) -> None:
    for n, lr in enumerate((1e-3, 2e-3)):
        make_run(tmp_path / str(n), Made(lr=lr))
    assert [title.split(", ")[-1] for title in read(tmp_path).settings["title"]] == [
        "lr=0.001",
        "lr=0.002",
    ]


def test_rows_of_runs_keep_their_names(frames: Frames) -> None:
    rows = frames.runs[frames.runs["setting"] == "B"].assign(method="mine")
    found = read(rows)
    assert found.runs is rows
    assert list(found.settings["setting"]) == ["B"]
    for name in PER_RUN:
        assert set(getattr(found, name)["method"]) <= {"mine"}
    assert set(analysis.epochs(rows)["setting"]) == {"B"}


def test_conflicts_name_pairs_by_the_tasks_order(frames: Frames) -> None:
    assert set(frames.conflicts["pair"]) == {"sst/qqp", "sst/sts", "qqp/sts"}
    assert set(frames.conflicts["run"]) == {"rr1", "rr2"}


def test_answers_come_without_texts_where_none_may_be_seen(frames: Frames) -> None:
    hidden = replace(frames, texts=False)
    shown, other = frames.answers("rr2", "qqp"), hidden.answers("rr2", "qqp")
    assert "text2" in shown
    assert not shown["text"].eq(LEFT_OUT).any()
    assert "text2" not in other
    assert other["text"].eq(LEFT_OUT).all()
    assert shown[["label", "prediction"]].equals(other[["label", "prediction"]])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "is missing"),
        ("id,text,label\n1,a,1\n", "no column confidence, prediction"),
        ("id,text,label,prediction,confidence\n", "no labels"),
        ("id,text,label,prediction,confidence\n1,a,yes,1,1\n", "cannot be read"),
        ("id,text,label,prediction,confidence\n1,a,,1,1\n", "cannot be read"),
        ("id,text,label,prediction,confidence\n1,a,1,1,1,9\n", "cannot be read"),
        ("id,text,label,prediction,confidence\n1,a,1,1,1\n1,a,1,1,1,9\n", "cannot be read"),
    ],
)
def test_predictions_that_are_no_use_are_said_to_be(
    content: str | None, why: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", Made(predictions=False))
    if content is not None:
        (run / "predictions").mkdir()
        (run / "predictions" / "sst.csv").write_text(content)
    with pytest.raises(UnusableError, match=why):
        read(run).answers("run", "sst")
    assert analysis.predictions(run).empty


def test_names_below_several_directories(root: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "b" / "rr1", Made())
    names = list(read(root, tmp_path / "b", root).runs["run"])
    assert f"{root.name}/rr1" in names
    assert "b/rr1" in names
    assert len(names) == len(set(names)) == 7


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a directory with runs, found no such"):
        read(tmp_path / "nowhere")
    assert read(tmp_path).runs.empty
    assert isinstance(analysis.conflicts(tmp_path), pd.DataFrame)


@pytest.mark.parametrize(
    ("name", "value", "deviation", "text"),
    [
        ("score", 0.7654, None, "0.765"), ("score", 0.7654, 0.0123, "0.765 ± 0.012"),
        ("difference", -0.0123, None, "−0.012"), ("fraction", 0.1234, 0.02, "12.3 ± 2.0%"),
        ("minutes", 0.0012, None, "0.0012"), ("minutes", 1234.5, None, "1,234"),
        ("score", None, None, "–"), ("score", float("nan"), 0.1, "–"),
        ("device", "a CPU", None, "a CPU"),
        ("synthetic", True, None, "yes"), ("sst.value", 0.5, None, "0.500"),
        ("n", 12345, None, "12,345"),
    ],
)  # fmt: skip
def test_a_number_is_written_in_one_way(
    name: str, value: object, deviation: float | None, text: str
) -> None:
    assert columns.write(name, value, deviation) == text
    assert columns.column("sst.value").title == "sst"


def test_what_was_tuned_for_each_method_does_not_part_them(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path / f"rr{seed}", Made(seed=seed))
        make_run(tmp_path / f"arrp{seed}", Made(sampler="arrp", B=40, seed=seed, lr=1e-3))
    assert set(read(tmp_path).runs["setting"]) == {"A", "B"}
    assert set(read(tmp_path, tuned=["lr"]).runs["setting"]) == {"A"}
    with pytest.raises(UserError, match="--tuned: expected settings of lr, optimizer, scheduler"):
        read(tmp_path, tuned=["seed"])
    make_run(tmp_path / "rr3", Made(seed=3, lr=0.5))
    with pytest.raises(UserError, match=r"expected one lr for each method, found .* of RR"):
        read(tmp_path, tuned=["lr"])


def test_what_of_an_adapter_is_usual_is_the_settings_default() -> None:
    usual = {name: ModelSettings.model_fields[name].default for name in ADAPTER}
    assert usual == ADAPTER
