"""Charts can be drawn, say what they are about, and are legible whatever the runs are."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from mtl_bert import analysis
from mtl_bert.analysis import figures
from mtl_bert.analysis.frames import Frames, read
from mtl_bert.analysis.leaderboard import Comparison
from mtl_bert.runs.answers import UnusableError
from tests.analysis.conflicting import quarrel
from tests.analysis.factory import Made, make_run
from tests.analysis.test_summaries import series

TASKS = ("sst", "qqp", "sts")
DEV = {"sst": 60, "qqp": 80, "sts": 50}
DRAWN: dict[str, Callable[[Any], Any]] = {
    "tradeoff": figures.tradeoff,
    "progress": figures.progress,
    "examples": lambda frames: figures.progress(frames, by="examples"),
    "lambda": figures.effect,
    "B": lambda frames: figures.effect(frames, of="B"),
    "conflicts": figures.conflicts,
    "usage": figures.usage,
    "classes": lambda frames: figures.answers(frames, "rr1", "sst"),
    "numbers": lambda frames: figures.answers(frames, "rr1", "sts"),
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        make_run(root / f"rr{seed}", Made(seed=seed, dev=DEV, phases=quarrel(TASKS, 3, seed)))
        for B in (50, 500):
            for lambda_ in (0.5, 1.0):
                made = Made(
                    sampler="arrp", B=B, lambda_=lambda_, seed=seed, dev=DEV, minutes=B / 99
                )
                make_run(root / f"arrp{B}-{lambda_}-{seed}", made)
    make_run(root / "elsewhere", Made(sampler="vanilla", dev=DEV, device="a GPU"))
    return read(root)


def svg(chart: Any) -> str:
    return vl_convert.vegalite_to_svg(chart.to_json())


def values(node: Any) -> Iterator[dict[str, Any]]:
    """All rows of data in a specification."""
    if isinstance(node, dict):
        yield from node.get("data", {}).get("values", ())
        for child in node.values():
            yield from values(child)
    if isinstance(node, list):
        for child in node:
            yield from values(child)


def marks(node: Any) -> Iterator[dict[str, Any]]:
    """Everything that stands for data: points, bars, cells and lines of series."""
    if isinstance(node, dict):
        if node.get("mark", {}).get("type") in ("point", "bar", "rect") or (
            "mark" in node and "color" in node["encoding"] and "text" not in node["encoding"]
        ):
            yield node
        for child in node.values():
            yield from marks(child)
    if isinstance(node, list):
        for child in node:
            yield from marks(child)


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_drawn_and_says_what_it_is_about(frames: Frames, name: str) -> None:
    chart = DRAWN[name](frames)
    drawn, spec = svg(chart), chart.to_dict()
    assert spec["title"]["text"] in drawn
    assert "demo · tiny · synthetic · partial" in spec["title"]["subtitle"][0]
    assert all("tooltip" in mark["encoding"] for mark in marks(spec))
    assert "NaN" not in drawn
    assert "Infinity" not in drawn
    (width, height) = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', drawn).groups())  # type: ignore[union-attr]
    assert width < 1000
    assert height < 900
    assert min(map(float, re.findall(r'font-size="([\d.]+)px"', drawn))) >= 10


def test_a_method_looks_the_same_everywhere(frames: Frames) -> None:
    found: dict[str, set[tuple[str, str]]] = {}
    for some in (frames, frames.only(frames.runs[frames.runs["method"] != "RR"])):
        for name, look in figures.looks(some.runs["method"]).items():
            found.setdefault(name, set()).add(look)
    assert all(len(each) == 1 for each in found.values())
    assert len({look for each in found.values() for look in each}) == len(found)


def test_the_trade_off_compares_times_of_one_device(frames: Frames) -> None:
    chart = analysis.figure.tradeoff(frames)
    shown = {row["series"] for row in values(chart.to_dict()) if "series" in row}
    assert "vanilla" not in shown
    assert len(shown) == 5
    assert (
        "left out, as they ran on another device: 1 methods" in chart.to_dict()["title"]["subtitle"]
    )


def test_dots_are_seeds_and_lines_go_through_means(frames: Frames) -> None:
    chart = figures.progress(frames).to_dict()
    rows = [row for row in values(chart) if row["series"] == "RR"]
    dots = pd.DataFrame(rows).drop_duplicates(["x", "y"])
    assert len(dots) == 2 * 3
    own = frames.epochs[frames.epochs["method"] == "RR"].drop_duplicates(["run", "epoch"])
    assert sorted(dots["y"]) == sorted(own["epoch_score"])
    line, seeds, means = chart["layer"]
    drawn = [layer["encoding"]["y"].get("aggregate") for layer in (line, seeds, means)]
    assert drawn == ["mean", None, "mean"]


def test_methods_may_have_names_of_ones_own(frames: Frames) -> None:
    rows = frames.runs[frames.runs["method"] != "RR"]
    names = rows["method"].astype(str).where(rows["B"] != 50, "my method")
    spec = analysis.figure.tradeoff(rows.assign(method=names)).to_dict()
    assert "my method" in {row.get("series") for row in values(spec)}


def test_pareto() -> None:
    rng = np.random.default_rng(0)
    costs, gains = rng.integers(0, 9, 40).tolist(), rng.integers(0, 9, 40).tolist()
    front = figures.pareto(pd.DataFrame({"minutes": costs, "score": gains})).index.to_list()
    for i in range(40):
        beaten = any(
            costs[j] <= costs[i]
            and gains[j] >= gains[i]
            and (costs[j], gains[j]) != (costs[i], gains[i])
            for j in range(40)
        )
        assert beaten != any((costs[i], gains[i]) == (costs[j], gains[j]) for j in front)
    assert sorted(front, key=lambda i: costs[i]) == front


def test_confusion_counts_each_class() -> None:
    found = pd.DataFrame({"label": [0, 0, 0, 2, 2.0], "prediction": [0, 0, 1, 2, 0.0]})
    shares = figures.confusion(found, ["a", "b", "c"])
    assert shares.to_numpy() == pytest.approx(
        np.array([[2 / 3, 1 / 3, 0], [0, 0, 0], [0.5, 0, 0.5]])
    )
    with pytest.raises(UnusableError, match="not among the classes"):
        figures.confusion(found, ["a", "b"])


def test_every_distance_is_in_its_group(frames: Frames) -> None:
    spec = DRAWN["numbers"](frames).to_dict()
    bars = {row["name"]: row["examples"] for row in values(spec) if "examples" in row}
    own = frames.answers("rr1", "sts")
    apart = [abs(a - b) for a, b in zip(own["label"], own["prediction"], strict=True)]
    ends = {"d ≤ 0.5": (-1, 0.5), "0.5 < d ≤ 1": (0.5, 1), "1 < d ≤ 2": (1, 2), "d > 2": (2, 9)}
    assert bars == {name: sum(a < d <= b for d in apart) for name, (a, b) in ends.items()}


def test_where_there_is_nothing_to_draw_there_is_none(tmp_path: Path) -> None:
    make_run(tmp_path / "random", Made(sampler="random", dev=DEV, epochs=3))
    frames = read(tmp_path)
    nothing = {"classes", "numbers", "usage"}
    assert [name for name, draw in DRAWN.items() if name not in nothing and draw(frames)] == []
    assert figures.imbalance(frames) is None


def test_one_epoch_and_more_tasks_than_fit(tmp_path: Path) -> None:
    names = [f"datum_{n}" for n in range(14)]
    make_run(tmp_path / "rr1", Made(dev=DEV, epochs=1, phases=quarrel(TASKS, 1)))
    text = (tmp_path / "rr1" / "results.json").read_text("utf-8")
    results = json.loads(text)
    for place in ("tasks", "utilisation"):
        results[place] = dict.fromkeys(names, results[place]["qqp"])
    results["config"]["tasks"] = dict.fromkeys(names, results["config"]["tasks"]["qqp"])
    results["data"]["sizes"] = {name: {"train": 9, "dev": 80} for name in names}
    results["last"]["tasks"] = results["tasks"]
    epoch = results["epochs"][0]
    for place in ("tasks", "utilisation", "losses"):
        epoch[place] = dict.fromkeys(names, epoch[place]["qqp"])
    conflicts = epoch["phases"][0]["conflicts"]
    pair, part = conflicts["pairs"]["sst/qqp"], conflicts["tasks"]["qqp"]
    conflicts["pairs"] = {f"{names[n]}/{names[m]}": pair for m in range(14) for n in range(m)}
    conflicts["tasks"] = dict.fromkeys(names, part)
    (tmp_path / "rr1" / "results.json").write_text(json.dumps(results), "utf-8")
    frames = read(tmp_path)
    assert frames.warnings == ()
    assert len(frames.conflicts) == 14 * 13 / 2
    for name in ("conflicts", "usage"):
        assert "datum_" in svg(DRAWN[name](frames)), name


def test_imbalance(tmp_path: Path) -> None:
    frames = read(series(tmp_path, lambda method, ratio: 0.0))
    chart = figures.imbalance(frames)
    drawn = svg(chart)
    assert "worst task" in drawn
    assert "ARRP λ=0.5, any B" in drawn
    known = figures.looks(frames.runs["method"])
    shown = figures.imbalance(frames).to_dict()
    assert known["RR"][0] in json.dumps(shown)


def test_compared_methods_are_not_compared_again(frames: Frames) -> None:
    c = Comparison(frames)
    assert figures.usage(c).to_dict() == figures.usage(frames).to_dict()


def test_static_mixtures_without_surgery_are_the_line_to_beat(tmp_path: Path) -> None:
    plain = {"method": {"_target_": "mtl_bert.surgery.Sum"}, "scope": "all", "reduction": "sum"}
    accuracies = {"sst": 0.4, "qqp": 0.7, "sts": 0.6}
    for T, minutes in ((1.0, 1.0), (2.0, 2.0), (5.0, 3.0)):
        accuracies = {task: value + 0.01 for task, value in accuracies.items()}
        sampler = {"_target_": "mtl_bert.sampling.Temperature", "temperature": T}
        made = Made(
            sampler="temperature", surgery=plain, accuracies=accuracies, minutes=minutes, dev=DEV,
            override={"sampler": sampler},
        )  # fmt: skip
        make_run(tmp_path / f"t{T:g}", made)
    for surgery, name in ((plain, "rr-sum"), (Made().surgery, "temperature")):
        sampler = "rr" if name == "rr-sum" else "temperature"
        make_run(tmp_path / name, Made(sampler=sampler, surgery=surgery, minutes=4.0, dev=DEV))
    spec = figures.tradeoff(read(tmp_path)).to_dict()
    (line,) = [
        layer for layer in spec["layer"]
        if isinstance(layer["mark"], dict) and layer["mark"].get("strokeDash") == [1, 3]
    ]  # fmt: skip
    rows = line.get("data", {}).get("values") or spec["datasets"][line["data"]["name"]]
    found = {row["series"] for row in rows}
    assert len(found) == 3
    assert all("temperature" in name and "no surgery" in name for name in found)
    assert "static mixtures" in json.dumps(spec["title"])


def test_a_scale_without_an_end_ends_where_its_labels_do(tmp_path: Path) -> None:
    make_run(tmp_path / "one", Made(dev=DEV))
    found = read(tmp_path)
    of_sts = found.scores.index[found.scores["task"] == "sts"]
    for row in of_sts:
        found.scores.at[row, "scale"] = (0.0, float("inf"))
    drawn = figures.answers(found, "one", "sts")
    assert "sts" in json.dumps(drawn.to_dict(), allow_nan=False)  # which no infinity passes
