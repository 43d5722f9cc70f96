"""Charts of what runs say, as Altair charts; ``analysis.figure``.

    analysis.figure.tradeoff("runs").save("tradeoff.svg")

A function takes directories, frames or some rows of ``runs``, and the letter of a setting. A method
has the same colour and shape in every chart of the same runs; dots are seeds, and everything
answers the pointer. Where there is nothing to draw, there is None.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mtl_bert.analysis import summaries
from mtl_bert.analysis.columns import column, write
from mtl_bert.analysis.frames import Frames, Source, read
from mtl_bert.analysis.leaderboard import SCORE, Compared, compared
from mtl_bert.runs.answers import UnusableError
from mtl_bert.runs.methods import NAMES, UPDATE

GREY = "#888888"
FEW = 12  # tasks or pairs that a chart can show
FARTHEST = {"d ≤ 0.5": 0.5, "0.5 < d ≤ 1": 1.0, "1 < d ≤ 2": 2.0, "d > 2": np.inf}
"""Groups of distances between true and predicted values, and their ends; not the paper's."""
MANY = 3_000  # points that a chart should not hold one by one
THEME = json.loads(Path(__file__).with_name("theme.json").read_text("utf-8"))
"""Vega-Lite's configuration, in which texts have the colour of what they stand in, by day and
night; and how methods look: Okabe and Ito's colours, which the colour-blind can tell apart, each as
hue, saturation and lightness (but their yellow, which is lost on white, darker), and shapes."""
FREE = alt.Scale(zero=False)
Looks = Mapping[str, tuple[str, str]]  # series -> colour and shape
Titles = Mapping[str, tuple[str, str]]  # what is drawn -> its title, and the column with its form


def _chart(frame: pd.DataFrame) -> Any:
    """A chart of a frame's rows, however many; a missing value is null."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    # A list would be copied whenever something is said of the chart.
    return alt.Chart(alt.Data(values=tuple(rows)))  # type: ignore[no-untyped-call]


def _titled(chart: Any, title: str, *below: str) -> Any:
    """The chart as it stands alone."""
    heading = alt.TitleParams(title, subtitle=list(below))
    return chart.properties(title=heading, background="transparent", config=THEME["config"])


def _finished(chart: Any, frames: Frames, title: str, *notes: str) -> Any:
    """The chart with its title; below it what no reader may overlook, and notes."""
    flags = dict.fromkeys(flag for badges in frames.settings["badges"] for flag, _ in badges)
    about = [*frames.runs["data"].unique(), *frames.runs["encoder"].unique(), *flags]
    return _titled(chart, title, " · ".join(about), *notes)


def _head(text: str) -> alt.TitleParams:
    """The title of one chart of several."""
    return alt.TitleParams(text, fontSize=12, fontWeight="normal", anchor="middle")


def looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A hue for each sampler, a shade from dark to light and a shape for each of its variants."""
    families: dict[tuple[int, int, int], list[str]] = {}
    for name in pd.Categorical(names).categories if isinstance(names, pd.Series) else names:
        known = [of for key, of in THEME["samplers"].items() if name.startswith(NAMES[key])]
        families.setdefault(tuple((known or [THEME["others"]])[0]), []).append(name)
    shapes = THEME["shapes"]
    return {
        name: (f"hsl({hue}, {full}%, {min(80, light * (0.55 + 0.9 * place)):.0f}%)", shapes[n % 8])
        for (hue, full, light), members in families.items()
        for n, name in enumerate(members)
        for place in ((n + 0.5) / len(members),)
    }


def _form(name: str) -> str:
    """A column's form in d3's words, whose g writes zeros at the end, and which has no -0."""
    return column(name).form.replace("g", "~r").replace("z", "") if name else ""


def _tips(*names: str, **others: tuple[str, str]) -> list[alt.Tooltip]:
    """What the pointer shows of columns, and of fields with a title and a column's form."""
    titles = {name: (column(name).title, name) for name in names} | others
    return [
        alt.Tooltip(f"{field}:Q", title=title, format=_form(like)) if _form(like)
        else alt.Tooltip(f"{field}:N", title=title) for field, (title, like) in titles.items()
    ]  # fmt: skip


def _marks(styles: Looks, shown: Iterable[str], **legend: Any) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the field series, with one legend of those that are shown."""
    names = [name for name in styles if name in set(shown)]
    scales = [alt.Scale(domain=names, range=[styles[name][n] for name in names]) for n in (0, 1)]
    kind: Any = {"shorthand": "series:N", "legend": alt.Legend(title="method", **legend)}
    return alt.Color(scale=scales[0], **kind), alt.Shape(scale=scales[1], **kind)


def _x(field: str, values: pd.Series, title: str, *, log: bool) -> alt.X:
    """The axis below: ticks at the values where they are few."""
    ticks = sorted(map(float, values.unique()))
    few: dict[str, Any] = {"values": ticks} if len(ticks) <= FEW else {"tickCount": 6}
    kind: dict[str, Any] = {"type": "log"} if log else {"zero": False}
    return alt.X(
        f"{field}:Q", title=title + (" (log scale)" if log else ""),
        axis=alt.Axis(labelOverlap=True, format=",.3~r", **few),
        scale=alt.Scale(nice=False, padding=10, **kind),
    )  # fmt: skip


def _lines(
    frames: Frames, points: pd.DataFrame, styles: Looks, panels: Titles, x: tuple[str, str],
    heading: str, *notes: str, log: bool = False,
) -> Any:  # fmt: skip
    """Lines through means, with the repetitions as dots, in a panel for each measure.

    ``points`` has rows of panel, series, x and y; several of the same x are repetitions. ``x`` is
    the title of the axis below, and the column whose form it has.
    """
    points = points.dropna(subset="y").astype({"x": float})
    parts = {name: own for name in panels if len(own := points[points["panel"] == name])}
    colour, shape = _marks(styles, points["series"])
    chosen = alt.selection_point(fields=["series"], bind="legend")
    faded = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.1))
    width, height, charts = *((420, 270) if len(parts) == 1 else (260, 190)), []
    about = {"series": ("method", ""), "x": x}
    for name, own in parts.items():
        title, like = panels[name]
        same = own.groupby(["series", "x"])["y"]
        spread = zip(same.transform("mean"), same.transform("std"), strict=True)
        own = own.assign(mean=[write(like, *each) for each in spread])
        base = _chart(own).encode(x=_x("x", own["x"], x[0], log=log), color=colour)
        means = base.encode(
            y=alt.Y("mean(y):Q", title=title, scale=FREE), opacity=faded,
            tooltip=_tips(**about, mean=(title, ""), **{"count()": ("n", "n")}),
        )  # fmt: skip
        seeds = base.encode(y="y:Q", tooltip=_tips(**about, y=("a seed's", like)))
        charts.append(alt.layer(
            means.mark_line(strokeWidth=1.6),
            seeds.mark_point(size=16, filled=True, opacity=0.5),
            means.mark_point(size=42, filled=True).encode(shape=shape),
        ).properties(width=width, height=height))  # fmt: skip
    charts[0] = charts[0].add_params(chosen)
    whole = charts[0] if len(charts) == 1 else alt.concat(*charts, columns=2)
    return _finished(whole, frames, heading, *notes)


def _heat(
    chart: Any, x: str, y: str, value: str, scheme: str, ends: tuple[float, float], *tips: str,
    x_title: str | None = None,
) -> Any:  # fmt: skip
    """A heat map of two fields (in their order) and a column, with the numbers written in.

    ``ends`` are the values at the ends of Vega's ``scheme``, of a diverging one with the dark; the
    pointer shows more columns.
    """
    middle = sum(ends) / 2 if "red" in scheme else min(ends)
    dark = f"abs(datum.{value} - {middle}) > {0.65 * max(abs(end - middle) for end in ends)}"
    base = chart.encode(
        x=alt.X(f"{x}:N", title=x_title, sort=None, axis=alt.Axis(labelAngle=-30, ticks=False)),
        y=alt.Y(f"{y}:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
        tooltip=_tips(**{y: ("row", ""), x: ("column", "")}) + _tips(value, *tips),
    )
    kind: Any = {"scheme": scheme, "domain": sorted(ends), "reverse": ends[0] > ends[1]}
    colour = alt.Color(f"{value}:Q", scale=alt.Scale(clamp=True, **kind), legend=None)
    text = base.mark_text(fontSize=10).encode(
        text=alt.Text(f"{value}:Q", format=_form(value)),
        color=alt.when(dark).then(alt.value("white")).otherwise(alt.value("#222222")),
    )
    chart = alt.layer(base.mark_rect(stroke="white").encode(color=colour), text)
    sides = {"width": alt.Step(52), "height": alt.Step(22)}
    return chart.properties(title=_head(column(value).title), **sides)


def of_run(title: str, x: str, series: str, *measures: str) -> Any:
    """A run's lines over epochs, a panel for each measure, or pairs by part, where ``x`` is that.

    Whoever shows it brings the rows.
    """
    rows = alt.Chart(alt.NamedData("rows"))
    if x == "part":
        chart = _heat(rows, series, x, measures[0], "redblue", (-0.25, 0.25), *measures[1:])
        return _titled(chart, title)
    base = rows.mark_line(point={"size": 40}, strokeWidth=1.6, invalid="filter").encode(
        x=alt.X(f"{x}:O", axis=alt.Axis(labelAngle=0, labelOverlap=True, grid=True)),
        color=alt.Color(f"{series}:N", title=None, sort=None),
    ).properties(width=300, height=190)  # fmt: skip
    panels = [base.encode(y=alt.Y(f"{name}:Q", title=column(name).title, scale=FREE),
                          tooltip=_tips(series, x, name)) for name in measures]  # fmt: skip
    return _titled(alt.concat(*panels, columns=2), title)


def _bars(counts: pd.Series, title: str) -> Any:
    """Counts as bars that lie, with their numbers."""
    rows = counts.rename_axis("name").reset_index(name="examples").astype({"name": str})
    scale = alt.Scale(domain=[0, 1.2 * max(1, int(counts.max()))], nice=False)
    base = _chart(rows).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False)),
        x=alt.X("examples:Q", title="examples", scale=scale, axis=alt.Axis(tickCount=4)),
        tooltip=_tips("examples", name=("what", "")),
    )
    text = alt.Text("examples:Q", format=_form("examples"))
    numbers = base.mark_text(fontSize=10, color=GREY, align="left", dx=4).encode(text=text)
    return alt.layer(base.mark_bar(), numbers).properties(
        title=_head(title), width=200, height=alt.Step(24)
    )


def tradeoff(source: Compared, setting: str = "A") -> Any | None:
    """Score against training time, with the Pareto front: nothing is both faster and better.

    ``source`` is directories, a frame of runs or a comparison; ``setting`` the letter of theirs.

    Times compare on one device only, so methods of another than most are left out.
    """
    c = compared(source, setting)
    if not c.trained:
        return None
    means = c.means.loc[c.trained].rename_axis("series").reset_index()
    ((device, shown),) = Counter(means["device"]).most_common(1)
    means = means[means["device"] == device].drop(columns=["device", "trained"])
    runs = c.frames.runs[["run", "minutes", "score"]].assign(series=c.frames.runs["method"])
    runs = runs[runs["series"].isin(means["series"])].astype({"series": str})
    for name in ("minutes", "score"):
        mean, sd = means[name], means[f"{name}_sd"].fillna(0)
        means[f"{name}_low"], means[f"{name}_high"] = (mean - sd).clip(mean / 10), mean + sd
    styles = looks(c.frames.runs["method"])
    colour, shape = _marks(styles, means["series"], orient="bottom", columns=2, labelLimit=180)
    x = _x("minutes", runs["minutes"], "minutes per epoch", log=bool((runs["minutes"] > 0).all()))
    y = alt.Y("score:Q", title="dev score", scale=alt.Scale(zero=False, padding=10))
    tips = _tips("score", "minutes", "score_sd", "minutes_sd", "seeds", series=("method", ""))
    base = _chart(means).encode(x=x, y=y, color=colour, tooltip=tips)
    rules = base.mark_rule(opacity=0.6)
    seeds = _chart(runs).encode(x=x, y=y, color=colour, tooltip=_tips("run", "score", "minutes"))
    static = means[[c.kinds[method].static for method in means["series"]]]
    fronts = [_chart(pareto(means)).mark_line(
        interpolate="step-after", strokeDash=[5, 3], color=GREY)]  # fmt: skip
    notes = ["dashed: nothing is both faster and better; bars: one standard deviation"]
    if len(static) > 1:
        fronts.append(_chart(pareto(static)).mark_line(interpolate="step-after", strokeDash=[1, 3]))
        notes.append("dotted: the same of static mixtures without surgery")
    if elsewhere := len(c.trained) - shown:
        notes.append(f"left out, as they ran on another device: {elsewhere} methods")
    chart = alt.layer(
        *(front.encode(x=x, y=y) for front in fronts),
        rules.encode(y="score_low:Q", y2="score_high:Q"),
        rules.encode(x="minutes_low:Q", x2="minutes_high:Q"),
        seeds.mark_point(size=16, filled=True, opacity=0.5),
        base.mark_point(size=90, filled=True, opacity=1).encode(shape=shape),
    ).properties(width=360, height=290)
    return _finished(chart, c.frames, "Score against training time", *notes)


def pareto(found: pd.DataFrame) -> pd.DataFrame:
    """The rows that none beats in minutes and score, the fastest first; of equals the first one."""
    found = found.sort_values(["minutes", "score"], ascending=[True, False], kind="stable")
    return found[~(found["score"] <= found["score"].cummax().shift())]


def progress(source: Compared, setting: str = "A", by: str = "epoch") -> Any | None:
    """Score after each scored epoch, ``by`` epoch or examples, in a ``setting`` of ``source``."""
    c = compared(source, setting)
    scored = c.frames.epochs.dropna(subset="epoch_score").drop_duplicates(["run", "epoch"])
    if scored.empty:
        return None
    x, title, heading = scored["epoch"], "epoch", "Score over epochs"
    if by == "examples":
        # Where a method's seeds saw different numbers of examples, they meet at the mean.
        seen = scored.groupby(["method", "epoch"], observed=True)["examples_so_far"]
        x, title = seen.transform("mean"), "training examples seen, repeats included"
        heading = "Score over examples seen"
    points = pd.DataFrame({
        "panel": SCORE, "series": scored["method"].astype(str), "x": x, "y": scored["epoch_score"],
    })  # fmt: skip
    most = c.frames.runs["dev_sample"].min()
    notes = [] if pd.isna(most) else [f"scored on at most {most:,} dev examples of a task"]
    return _lines(c.frames, points, looks(c.frames.runs["method"]), {SCORE: ("dev score", "score")},
                  (title, "n"), heading, *notes, log=by == "examples")  # fmt: skip


def _panels(frames: Frames) -> Titles:
    """Panels of the score and, where they are few, of each task's metric."""
    rows = frames.scores.drop_duplicates("task")
    tasks = {t: (f"{t}: {m}", "value") for t, m in zip(rows["task"], rows["metric"], strict=True)}
    return {SCORE: ("dev score", "score")} | (tasks if len(tasks) <= FEW else {})


def effect(source: Compared, setting: str = "A", of: str = "λ") -> Any | None:
    """What λ or B (``of``) does in a ``setting`` of ``source``; like methods are joined."""
    c = compared(source, setting)
    curves: dict[str, dict[float, str]] = {}
    for method in c.trained:
        own = c.kinds[method]
        x = own.lambda_ if of == "λ" else own.drawn
        if x is not None:
            curves.setdefault(own.short(of), {})[float(x)] = method
            if of == "λ" and own.lambda_ == 1:  # nothing is scaled: both kinds of λ meet there
                curves.setdefault(replace(own, lambda_on=UPDATE).short(of), {})[1.0] = method
    curves = {name: found for name, found in curves.items() if len(found) > 1}
    if not curves:
        return None
    panels = _panels(c.frames)
    points = pd.DataFrame([
        (what, name, x, y)
        for name, found in curves.items() for x, method in found.items()
        for what in panels for y in c.values[what][method].dropna()
    ], columns=["panel", "series", "x", "y"])  # fmt: skip
    x_axis = (of, "lambda_" if of == "λ" else "drawn")
    return _lines(c.frames, points, looks(curves), panels, x_axis, f"The effect of {of}",
                  log=of == "B")  # fmt: skip


def imbalance(source: Source | Frames) -> Any | None:
    """Score and worst task against the ratio of sizes, of settings that differ in it alone."""
    frames = read(source)
    found = summaries.imbalance(frames)
    if found.empty:
        return None
    own = frames.only(frames.runs[frames.runs["setting"].isin(found["setting"])])
    points = found.set_axis(["setting", "x", "series", "panel", "y"], axis=1)
    first: Titles = {SCORE: ("dev score", "score"), summaries.WORST: (summaries.WORST, "worst")}
    title = ("largest training set to each other", "imbalance")
    return _lines(own, points, looks(points["series"].unique()), {**first, **_panels(own)}, title,
                  "Scores against the imbalance of sizes", log=True)  # fmt: skip


def conflicts(source: Compared, setting: str = "A") -> Any | None:
    """How often pairs of tasks' gradients point against each other, by method."""
    c = compared(source, setting)
    found = summaries.pairs(c.frames)
    if found.empty:
        return None
    each = found.groupby(["method", "pair"], observed=True, sort=False)[["conflicting", "cosine"]]
    cells = each.mean().reset_index().astype({"method": str, "pair": str})
    half = max(0.1, float((cells["conflicting"] - 0.5).abs().max()))
    ends = 0.5 + half, 0.5 - half
    chart = _heat(_chart(cells), "pair", "method", "conflicting", "redblue", ends, "cosine")
    chance = "unrelated gradients are in conflict in about half of the steps"
    return _finished(chart, c.frames, "Conflicts between tasks", chance)


def usage(source: Compared, setting: str = "A") -> Any | None:
    """The share of each training set that every method saw at least once."""
    c = compared(source, setting)
    found = summaries.usage(c.frames)
    if found.empty:
        return None
    cells = found[["task", "method", "fraction", "effective_epochs"]]
    cells = cells.astype({"task": str, "method": str})
    chart = _heat(_chart(cells), "task", "method", "fraction", "greens", (0, 1), "effective_epochs")
    return _finished(chart, c.frames, "Data seen at least once")


def answers(source: Source | Frames, run: str, task: str) -> Any:
    """A run's answers to a dev set, as in the paper's Figures 2 to 4.

    Of classes a confusion matrix, each true class a row that adds up to 1, and the training labels;
    of numbers true against predicted values, and how far they lie apart.

    Raises:
        UnusableError: its predictions are missing or damaged, or of a kind not known here.
    """
    frames = read(source)
    own = frames.only(frames.runs[frames.runs["run"] == run])
    row = own.scores[own.scores["task"] == task].iloc[0]
    found, names = frames.answers(run, task), row["classes"]
    if names is not None:
        cells = confusion(found, names).stack().reset_index()
        cells = _chart(cells.set_axis(["true", "predicted", "of_true"], axis=1))
        left = _heat(cells, "predicted", "true", "of_true", "blues", (0, 1), x_title="predicted")
        labels = pd.Series(row["labels"] or {}).reindex(names, fill_value=0)
        right = _bars(labels, "training labels")
    elif row["scale"] is not None:
        seen = [found["label"].min(), found["label"].max()]  # where a scale has no end
        left = _scatter(found, list(np.where(np.isfinite(row["scale"]), row["scale"], seen)))
        apart = (found["prediction"] - found["label"]).abs()
        groups = pd.cut(apart, [-1, *FARTHEST.values()], labels=list(FARTHEST))
        right = _bars(groups.value_counts(sort=False), "distance d = |predicted − true|")
    else:
        raise UnusableError(f"{task}: its answers are neither classes nor numbers on a scale")
    return _finished(alt.hconcat(left, right), own, f"{task}: answers of {run}")


def confusion(found: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Shares of each true class (rows) by predicted class; rows without examples are 0.

    Raises:
        UnusableError: an answer that is no class.
    """
    classes = range(len(names))
    if not found[["label", "prediction"]].isin(classes).all(axis=None):
        raise UnusableError("predictions are not among the classes")
    shares = pd.crosstab(found["label"], found["prediction"], normalize="index")
    shares = shares.reindex(index=classes, columns=classes, fill_value=0)
    return shares.set_axis(list(names)).set_axis(list(names), axis=1)


def _scatter(found: pd.DataFrame, ends: Sequence[float]) -> Any:
    """True against predicted values."""
    r = found["label"].corr(found["prediction"])
    title = f"Pearson r = {write('value', r)}, N = {write('n', len(found))}"
    if len(found) > MANY:
        found, title = found.sample(MANY, random_state=0), f"{title} ({MANY:,} drawn)"
    dots = _chart(found[["id", "label", "prediction"]]).encode(
        x=alt.X("label:Q", title="true", scale=alt.Scale(domain=list(ends))),
        y=alt.Y("prediction:Q", title="predicted", scale=FREE),
        tooltip=_tips("id", "label", "prediction"),
    )
    line = _chart(pd.DataFrame({"label": ends, "prediction": ends}))
    chart = alt.layer(
        line.mark_line(strokeDash=[4, 3], color=GREY).encode(x="label:Q", y="prediction:Q"),
        dots.mark_point(size=12, filled=True, opacity=0.4),
    )
    return chart.properties(width=240, height=240, title=_head(title))
