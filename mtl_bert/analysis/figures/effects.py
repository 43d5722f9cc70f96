"""What λ does to ARRP, and what B does to every sampler that has one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import Words
from mtl_bert.analysis.figures.panels import SPREAD, Curve, panels_figure
from mtl_bert.analysis.methods import UPDATE, Method
from mtl_bert.analysis.studies import SCORE, Group, Study
from mtl_bert.analysis.style import Look

_Series = dict[str, list[tuple[float, Group]]]


def effect_figures(study: Study, looks: Mapping[Method, Look]) -> list[Figure]:
    """A figure for each of λ and B that has several values in otherwise equal methods."""
    asked = (
        ("λ", "effect-lambda", "The effect of λ on ARRP", "λ of the second phase"),
        ("B", "effect-b", "The effect of B", "B (log scale)"),
    )
    return [
        _effect(study, looks, series, name, heading, xlabel)
        for letter, name, heading, xlabel in asked
        if (series := _series(study.main, letter))
    ]


def _series(groups: Sequence[Group], letter: str) -> _Series:
    """Curves along λ or B of at least two points: name -> x and method, in rising order."""
    series: _Series = {}
    for group in groups:
        method = group.method
        x = method.lambda_ if letter == "λ" else method.drawn
        if x is not None:
            series.setdefault(method.brief(letter), []).append((float(x), group))
    if letter == "λ":
        _join_at_one(series)
    return {
        name: sorted(points, key=lambda point: point[0])
        for name, points in series.items()
        if len(points) > 1
    }


def _join_at_one(series: _Series) -> None:
    """With λ=1 nothing is scaled: curves that differ in what λ scales share that point."""
    ends = [group for points in series.values() for x, group in points if x == 1]
    for end in ends:
        twin = replace(end.method, lambda_on=UPDATE).brief("λ")
        if twin in series:
            series[twin].append((1.0, end))


def _effect(
    study: Study,
    looks: Mapping[Method, Look],
    series: _Series,
    name: str,
    heading: str,
    xlabel: str,
) -> Figure:
    whats = {SCORE: "dev score"} | {task: f"dev {study.metrics[task]}" for task in study.tasks}
    curves = [
        Curve(
            label,
            looks[points[0][1].method],
            [(x, {what: group.values(what) for what in whats}) for x, group in points],
        )
        for label, points in series.items()
    ]
    trends = "; ".join(
        f"{label}: " + ", ".join(f"{x:g} {g.values(SCORE).mean():.3f}" for x, g in points)
        for label, points in series.items()
    )
    words = Words(
        f"{study.slug}-{name}", heading, study.subject,
        f"{heading} on the score and on {', '.join(study.tasks)}. Scores: {trends}.",
        f"Methods that differ in nothing else are joined. Means over seeds. {SPREAD}",
    )  # fmt: skip
    return panels_figure(words, whats, curves, xlabel, log=name == "effect-b")
