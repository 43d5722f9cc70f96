"""What figures show, worked out by hand; and that they look the same for the same method."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.analysis import canvas
from mtl_bert.analysis.canvas import POINTS, draw, inline, lines_figure, standalone
from mtl_bert.analysis.curves import (
    cost_figure,
    effect_figures,
    pareto,
    progress,
    study_figures,
)
from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.predictions import confusion, distance_groups, mistakes
from mtl_bert.analysis.run_files import Classes, Scale, head_of
from mtl_bert.analysis.studies import SCORE, Subject
from tests.analysis.factory import HEADS, Made
from tests.analysis.making import seeds, study_of

SUBJECT = Subject("demo", True, (("sst", 10),), "tiny")
FIGURE = Figure("name", "A heading", SUBJECT, "a line")


def test_confusion_is_in_shares_of_the_true_class() -> None:
    found = pd.DataFrame({"label": [0.0, 0, 0, 2, 2], "prediction": [0.0, 1, 0, 0, 2]})
    shares = confusion(found, ("no", "maybe", "yes"))
    assert list(shares.index) == list(shares.columns) == ["no", "maybe", "yes"]
    assert np.allclose(shares, [[2 / 3, 1 / 3, 0], [0, 0, 0], [0.5, 0, 0.5]])


def test_distances_are_grouped_with_their_limits_below() -> None:
    distances = pd.Series([0.5, 0.51, 1.0, 1.5, 2.0, 2.01, 3.0, 0.0])
    assert distance_groups(distances) == {
        "d ≤ 0.5": 2, "0.5 < d ≤ 1": 2, "1 < d ≤ 2": 2, "d > 2": 2,
    }  # fmt: skip


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(points)
def test_the_pareto_front_is_what_nothing_beats(found: list[tuple[int, int]]) -> None:
    costs, gains = ([float(p[i]) for p in found] for i in (0, 1))
    front = pareto(costs, gains)

    def beats(a: int, b: int) -> bool:
        """Whether a is no dearer and no worse than b, and not just the same."""
        no_worse = costs[a] <= costs[b] and gains[a] >= gains[b]
        return no_worse and (costs[a], gains[a]) != (costs[b], gains[b])

    everything = range(len(found))
    best = {found[b] for b in everything if not any(beats(a, b) for a in everything)}
    assert {found[place] for place in front} == best
    assert len(front) == len(best)
    assert [costs[place] for place in front] == sorted(costs[place] for place in front)


def test_curves_go_through_the_epochs_that_all_seeds_were_scored_after() -> None:
    study = study_of(*seeds(Made(B=100, epochs=7, validate_every=3), 2))
    # The second run had fewer epochs at first, the last of which was scored off the grid.
    first, second = study.runs
    records = [*second.results.epochs]
    records[4] = records[4].model_copy(update={"score": 0.5, "tasks": records[5].tasks})
    second.__dict__["results"] = second.results.model_copy(update={"epochs": records})
    (group,) = study.main
    scores = [first.results.epochs[epoch - 1].score for epoch in (3, 6, 7)]
    by_epoch = pd.DataFrame(progress(group, by_examples=False), columns=POINTS)
    by_examples = pd.DataFrame(progress(group, by_examples=True), columns=POINTS)
    assert by_epoch["x"].unique().tolist() == [3, 6, 7]
    each = 3 * 664 + 100  # examples of an epoch
    assert by_examples["x"].unique().tolist() == [3 * each, 6 * each, 7 * each]
    for points in (by_epoch, by_examples):
        assert points.groupby("x")["y"].mean().tolist() == pytest.approx(scores)


def test_lines_go_through_means_with_bands_of_a_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[float]] = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.fill_between",
        lambda self, x, low, high, **more: drawn.append([*x, *low, *high]),
    )
    points = pd.DataFrame(
        [("a", "s", 2, 5.0), ("a", "s", 1, 1.0), ("a", "s", 1, 3.0)], columns=POINTS
    )
    lines_figure(FIGURE, points, {"s": canvas.Look("#000000")}, {"a": "y"}, "x", files=False)
    (found,) = drawn
    assert found == pytest.approx([1, 2, 2 - 2**0.5, 5, 2 + 2**0.5, 5])


methods = st.builds(
    Method,
    st.sampled_from(["rr", "arrp", "annealed", "another"]),
    B=st.sampled_from([None, 1, 2]),
    lambda_=st.sampled_from([None, 0.1, 0.5]),
    frozen=st.sampled_from([(), ("*",)]),
)


@given(st.lists(methods, min_size=1, max_size=10))
def test_looks_are_by_sampler_and_do_not_depend_on_order(found: list[Method]) -> None:
    looks = canvas.looks_of(found)
    assert looks == canvas.looks_of(reversed(found))
    for method, look in looks.items():
        assert look.colour == canvas.COLOURS.get(method.sampler, canvas.OTHER)
        assert look.hollow == bool(method.frozen)
    shapes = [(look.colour, look.marker) for look in looks.values()]
    assert len(set(shapes)) == len(shapes)


def test_a_method_looks_the_same_in_every_figure() -> None:
    study = study_of(
        *seeds(Made(sampler="arrp", B=10, lambda_=0.5)), *seeds(Made(sampler="annealed", B=30)),
        *seeds(Made(sampler="annealed", B=90, minutes=2.0)),
    )  # fmt: skip
    looks = canvas.looks_of(group.method for group in study.groups)
    figures = study_figures(study, looks)
    assert [figure.name for figure in figures] == [
        f"a-demo-{name}" for name in ("score-time", "score-epoch", "score-examples", "effect-b")
    ]
    for figure in figures:
        assert canvas.COLOURS["annealed"].lower() in figure.svg
    assert all(canvas.COLOURS["arrp"].lower() in figure.svg for figure in figures[:3])


def test_curves_along_lambda_meet_at_one() -> None:
    arrp = Made(sampler="arrp", B=10, lambda_=0.5)
    on_update = replace(arrp, override={"sampler": {"lambda_on": "update"}})
    made = (
        arrp,
        replace(arrp, lambda_=1.0, accuracies={"sst": 0.9, "qqp": 0.9, "sts": 0.9}),
        on_update,
    )
    study = study_of(*made)
    (figure,) = effect_figures(study, canvas.looks_of(group.method for group in study.groups))
    ends = [group.values(SCORE)[0] for group in study.main]
    first, last = sorted(ends)[0], sorted(ends)[-1]
    for name in ("ARRP F=0 B=10", "ARRP F=0 B=10, λ on the update"):
        assert f"{name}: 0.5 {first:.3f}, 1 {last:.3f}" in figure.description


def test_times_of_one_device_share_a_figure() -> None:
    here = (Made(sampler="rr"), Made(sampler="annealed", B=30))
    study = study_of(*here, Made(sampler="vanilla", B=30, minutes=0.1, device="a faster one"))
    cost = cost_figure(study, study.main, canvas.looks_of(g.method for g in study.groups))
    assert "of 2 methods" in cost.description
    assert cost.caption.endswith("Left out, as run elsewhere: vanilla B=30.")
    assert "on a CPU, 1 thread" in cost.caption
    assert canvas.COLOURS["vanilla"].lower() not in cost.svg


def test_nothing_trained_draws_nothing() -> None:
    study = study_of(Made(sampler="random"))
    looks = canvas.looks_of(group.method for group in study.groups)
    assert study_figures(study, looks) == []
    assert effect_figures(study, looks) == []


def figure() -> Figure:
    def paint(canvas):  # type: ignore[no-untyped-def]
        axes = canvas.subplots()
        axes.plot([0, 1], [0, 1])
        axes.set(xlabel="$x$ & <y>")

    return draw(FIGURE, paint, 1.5)


def test_what_a_figure_is_about_is_drawn_on_it() -> None:
    svg = " ".join(re.findall(r"<!-- (.*?) -->", figure().svg, re.DOTALL))
    assert "A heading" in svg
    assert "SYNTHETIC (made-up text)" in svg
    assert figure().png.startswith(b"\x89PNG")


def test_the_same_figure_is_the_same_file() -> None:
    assert figure().svg == figure().svg


def test_inside_a_page_ink_is_the_pages_and_ids_are_the_figures_own() -> None:
    drawn = figure()
    one, two = inline(drawn, 1), inline(drawn, 2)
    assert canvas.INK in drawn.svg
    assert canvas.INK not in one
    assert "currentColor" in one
    assert "var(--grid)" in one
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((one, two), ids, strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used
        assert used <= own
    assert "<metadata" not in one
    assert 'aria-hidden="true"' in one.split(">")[0]  # what is around it says what it shows
    assert standalone(drawn).startswith("<?xml")
    assert canvas.INK in standalone(drawn)


def test_names_are_no_formulas() -> None:
    assert "&lt;y>" in figure().svg or "&lt;y&gt;" in figure().svg


def answers(labels: list[float], predictions: list[float], sure: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"label": labels, "prediction": predictions, "confidence": sure})


def test_the_wrong_answers_that_a_model_is_most_sure_of() -> None:
    classes = Classes(("no", "yes"))
    found = answers([0, 1, 1, 0], [1, 1, 0, 1], [0.6, 0.99, 0.8, 0.7])
    assert mistakes(found, classes).index.tolist() == [2, 3, 0]
    many = answers([0] * 9, [1] * 9, np.linspace(0.5, 0.9, 9).tolist())
    assert mistakes(many, classes).index.tolist() == [8, 7, 6, 5, 4]


def test_the_numbers_that_lie_farthest_off() -> None:
    found = answers([0, 5, 1, 2], [1, 2, 1, 2.5], [np.nan] * 4)
    worst = mistakes(found, Scale(0, 5))
    assert worst.index.tolist() == [1, 0, 3]
    assert worst["badness"].tolist() == [3, 1, 0.5]


def test_heads_are_told_by_their_kind() -> None:
    kinds = [head_of({"head": head}) for head in HEADS.values()]
    assert [type(kind) for kind in kinds] == [Classes, Classes, Scale]
    assert head_of({"head": {"_target_": "mtl_bert.tasks.Binary"}}) == Classes(("no", "yes"))
    assert head_of({"head": {"_target_": "somebody.Ranking"}}) is None
