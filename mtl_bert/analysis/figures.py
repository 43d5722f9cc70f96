"""Charts of what runs say, as Altair charts; ``analysis.figure``.

    analysis.figure.tradeoff("runs").save("tradeoff.svg")

A function takes directories, frames or some rows of ``runs``, and the letter of a setting. A method
has the same colour and shape in every chart of the same runs; dots are seeds, and everything
answers the pointer. Where there is nothing to draw, there is None.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mtl_bert.analysis import summaries
from mtl_bert.analysis.columns import column, write
from mtl_bert.analysis.frames import Frames, Source, UnusableError, read
from mtl_bert.analysis.leaderboard import SCORE, Compared, compared
from mtl_bert.analysis.methods import NAMES, UPDATE
from mtl_bert.analysis.statistics import whole

COLOURS = {
    "rr": (202, 100, 35), "annealed": (41, 100, 45), "vanilla": (164, 100, 31),
    "arrp": (26, 100, 42), "full": (327, 45, 64), "single": (202, 77, 63), "random": (0, 0, 54),
}  # fmt: skip
"""Hue, saturation and lightness: Okabe and Ito's, which the colour-blind can tell apart."""
DARK_YELLOW = (52, 100, 31)  # of other samplers: Okabe and Ito's own yellow is lost on white
OTHER = "#A08A00"
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", OTHER, "#5B5B5B")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right",
          "triangle-left")  # fmt: skip
GREY = "#888888"
WIDTH, HEIGHT = 420, 270  # pixels
FEW = 12  # tasks or pairs that a chart can show
FARTHEST = {"d ≤ 0.5": 0.5, "0.5 < d ≤ 1": 1.0, "1 < d ≤ 2": 2.0, "d > 2": np.inf}
"""Groups of distances between true and predicted values, and their ends; not the paper's."""
MANY = 3_000  # points that a chart should not hold one by one
HALF = "unrelated gradients are in conflict in about half of the steps"
CONFIG = {
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal",
             "gridColor": "#e6e6e6", "labelLimit": 320},
    "legend": {"labelFontSize": 11, "titleFontSize": 12, "labelLimit": 320, "symbolLimit": 60,
               "symbolOpacity": 1},
    "title": {"fontSize": 14, "subtitleFontSize": 11, "offset": 12},
    "view": {"strokeOpacity": 0},
}  # fmt: skip
Looks = Mapping[str, tuple[str, str]]  # series -> colour and shape
EMPTY: dict[str, tuple[str, str]] = {}
Titles = Mapping[str, tuple[str, str]]  # what is drawn -> its title, and the column with its form


def _chart(frame: pd.DataFrame) -> Any:
    """A chart of a frame's rows, however many; a missing value is null."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    # A list would be copied whenever something is said of the chart.
    return alt.Chart(alt.Data(values=tuple(rows)))  # type: ignore[no-untyped-call]


def _finished(chart: Any, frames: Frames, title: str, *notes: str) -> Any:
    """The chart with its title; below it what no reader may overlook, and notes."""
    flags = dict.fromkeys(flag for badges in frames.settings["badges"] for flag, _ in badges)
    about = [*frames.runs["data"].unique(), *frames.runs["encoder"].unique(), *flags]
    below = [" · ".join(about), *filter(None, notes)]
    heading = alt.TitleParams(title, subtitle=below, anchor="start", subtitleColor=GREY)
    return chart.properties(title=heading, background="transparent", config=CONFIG)


def _head(text: str) -> alt.TitleParams:
    """The title of one chart of several."""
    return alt.TitleParams(text, fontSize=12, fontWeight="normal", anchor="middle")


def looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A hue for each sampler, a shade from dark to light and a shape for each of its variants."""
    families: dict[tuple[int, int, int], list[str]] = {}
    names = pd.Categorical(names).categories if isinstance(names, pd.Series) else names
    for name in names:
        known = [colour for key, colour in COLOURS.items() if name.startswith(NAMES[key])]
        families.setdefault(known[0] if known else DARK_YELLOW, []).append(name)
    return {
        name: (f"hsl({hue}, {full}%, {min(80, light * (0.55 + 0.9 * place)):.0f}%)", SHAPES[n % 8])
        for (hue, full, light), members in families.items()
        for n, name in enumerate(members)
        for place in ((n + 0.5) / len(members),)
    }


def _form(name: str) -> str:
    """A column's form in d3's words, whose g writes zeros at the end."""
    return column(name).form.replace("g", "~r")


def _tips(titles: Titles) -> list[alt.Tooltip]:
    """What the pointer shows of numbers, and of words, which have no form."""
    return [
        alt.Tooltip(f"{field}:Q", title=title, format=_form(form)) if form
        else alt.Tooltip(f"{field}:N", title=title) for field, (title, form) in titles.items()
    ]  # fmt: skip


def _marks(styles: Looks, shown: Iterable[str], title: str) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the field series, with one legend of those that are shown."""
    names = [name for name in styles if name in set(shown)]
    scales = [alt.Scale(domain=names, range=[styles[name][n] for name in names]) for n in (0, 1)]
    kind: dict[str, Any] = {"shorthand": "series:N", "legend": alt.Legend(title=title)}
    return alt.Color(scale=scales[0], **kind), alt.Shape(scale=scales[1], **kind)


def _x(field: str, values: pd.Series, title: str, *, log: bool) -> alt.X:
    """The axis below: ticks at the values where they are few."""
    ticks = sorted(map(float, values.unique()))
    few: dict[str, Any] = {"values": ticks} if len(ticks) <= FEW else {"tickCount": 6}
    kind: dict[str, Any] = {"type": "log"} if log else {"zero": False}
    return alt.X(
        f"{field}:Q", title=title + (" (log scale)" if log else ""),
        axis=alt.Axis(labelOverlap=True, format=",~r", **few),
        scale=alt.Scale(nice=False, padding=10, **kind),
    )  # fmt: skip


def _lines(
    frames: Frames, points: pd.DataFrame, styles: Looks, panels: Titles, x: tuple[str, str],
    legend: str, heading: str, *notes: str, log: bool = False,
) -> Any:  # fmt: skip
    """Lines through means, with the repetitions as dots, in a panel for each measure.

    ``points`` has rows of panel, series, x and y; several of the same x are repetitions. ``x`` is
    the title of the axis below, and the column whose form it has.
    """
    points = points.dropna(subset="y").astype({"x": float})
    parts = {name: own for name in panels if len(own := points[points["panel"] == name])}
    colour, shape = _marks(styles, points["series"], legend)
    chosen = alt.selection_point(fields=["series"], bind="legend")
    faded = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.1))
    scale, charts = (1, 1) if len(parts) == 1 else (0.62, 0.7), []
    for name, own in parts.items():
        title, form = panels[name]
        percent = alt.Axis(format="%") if _form(form).endswith("%") else alt.Axis()
        y = alt.Y("mean(y):Q", title=title, scale=alt.Scale(zero=False), axis=percent)
        same = own.groupby(["series", "x"])["y"]
        spread = zip(same.transform("mean"), same.transform("std"), strict=True)
        own = own.assign(mean=[write(form, *each) for each in spread])
        about = {"series": (legend, ""), "x": x}
        tips = _tips({**about, "mean": (title, ""), "count()": ("n", "n")})
        base = _chart(own).encode(x=_x("x", own["x"], x[0], log=log), color=colour)
        means = base.encode(y=y, opacity=faded, tooltip=tips)
        seeds = base.encode(y="y:Q", tooltip=_tips({**about, "y": ("a seed's", form)}))
        charts.append(alt.layer(
            means.mark_line(strokeWidth=1.6),
            seeds.mark_point(size=16, filled=True, opacity=0.5),
            means.mark_point(size=42, filled=True).encode(shape=shape),
        ).properties(width=WIDTH * scale[0], height=HEIGHT * scale[1]))  # fmt: skip
    charts[0] = charts[0].add_params(chosen)
    whole = charts[0] if len(charts) == 1 else alt.concat(*charts, columns=2)
    return _finished(whole, frames, heading, *notes)


def _heat(
    cells: pd.DataFrame, title: str, form: str, scheme: str, ends: tuple[float, float],
    more: Titles = EMPTY, x_title: str | None = None,
) -> Any:  # fmt: skip
    """A heat map of the fields x, y (in their order) and value, with the numbers written in.

    ``ends`` are the values at the ends of Vega's ``scheme``, of a diverging one with the dark; the
    pointer shows ``more``.
    """
    middle = sum(ends) / 2 if "red" in scheme else min(ends)
    dark = f"abs(datum.value - {middle}) > {0.65 * max(abs(end - middle) for end in ends)}"
    base = _chart(cells).encode(
        x=alt.X("x:N", title=x_title, sort=None, axis=alt.Axis(labelAngle=-30, ticks=False)),
        y=alt.Y("y:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
        tooltip=_tips({"y": ("row", ""), "x": ("column", ""), "value": (title, form), **more}),
    )
    kind: dict[str, Any] = {"scheme": scheme, "domain": sorted(ends), "reverse": ends[0] > ends[1]}
    colour = alt.Color("value:Q", scale=alt.Scale(**kind), legend=None)
    ink = alt.when(dark).then(alt.value("white")).otherwise(alt.value("#222222"))
    text = base.mark_text(fontSize=10).encode(
        text=alt.Text("value:Q", format=_form(form)), color=ink
    )
    width, height = max(48 * cells["x"].nunique(), 130), max(20 * cells["y"].nunique(), 60)
    chart = alt.layer(base.mark_rect(stroke="white").encode(color=colour), text)
    return chart.properties(title=_head(title), width=width, height=height)


def _bars(counts: Mapping[str, int], title: str, height: float) -> Any:
    """Counts as bars that lie, with their numbers."""
    scale = alt.Scale(domain=[0, 1.2 * max(1, *counts.values())], nice=False)
    base = _chart(pd.DataFrame({"name": counts.keys(), "n": counts.values()})).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False)),
        x=alt.X("n:Q", title="examples", scale=scale, axis=alt.Axis(tickCount=4)),
        tooltip=_tips({"name": ("what", ""), "n": ("examples", "n")}),
    )
    text = base.mark_text(fontSize=10, color=GREY, align="left", dx=4)
    numbers = text.encode(text=alt.Text("n:Q", format=_form("n")))
    bars = alt.layer(base.mark_bar(color=SERIES[0]), numbers)
    return bars.properties(title=_head(title), width=200, height=height)


def _few(found: pd.DataFrame, name: str, by: str) -> tuple[pd.DataFrame, str]:
    """Rows of the tasks or pairs that a chart can show, the highest ones, and a note about it."""
    means, note = found.groupby(name, observed=True)[by].mean(), ""
    if len(means) > FEW:
        found = found[found[name].isin(means.nlargest(FEW).index)]
        note = f"the {FEW} of {len(means)} that are highest in {column(by).title}"
    return found.assign(**{name: found[name].astype(str)}), note


def tradeoff(source: Compared, setting: str = "A") -> Any | None:
    """Score against training time, with the Pareto front: nothing is both faster and better.

    ``source`` is directories, a frame of runs or a comparison; ``setting`` the letter of theirs.

    Times compare on one device only, so methods of another than most are left out.
    """
    c = compared(source, setting)
    if not c.trained:
        return None
    devices = {method: frozenset(c.of(method)["device"]) for method in c.trained}
    ((device, _),) = Counter(devices.values()).most_common(1)
    shown = [method for method in c.trained if devices[method] == device]
    runs = c.frames.runs[c.frames.runs["method"].isin(shown)]
    runs = runs[["run", "minutes", "score"]].assign(series=runs["method"].astype(str))
    groups = runs.groupby("series")[["minutes", "score"]]
    means = groups.mean().join(groups.std().add_suffix("_sd")).assign(n=groups.size())
    means = means.loc[shown].reset_index()
    for name in ("minutes", "score"):
        mean, sd = means[name], means[f"{name}_sd"].fillna(0)
        means[f"{name}_low"], means[f"{name}_high"] = (mean - sd).clip(mean / 10), mean + sd
    colour, shape = _marks(looks(c.frames.runs["method"]), shown, "method")
    titles = {"score": ("score", "score"), "minutes": ("minutes per epoch", "minutes")}
    spread = {f"{name}_sd": (f"± {title}", form) for name, (title, form) in titles.items()}
    x = _x("minutes", runs["minutes"], "minutes per epoch", log=bool((runs["minutes"] > 0).all()))
    y = alt.Y("score:Q", title="dev score", scale=alt.Scale(zero=False, padding=10))
    tips = _tips({"series": ("method", ""), **titles, **spread, "n": ("n", "n")})
    base = _chart(means).encode(x=x, y=y, color=colour, tooltip=tips)
    rules = base.mark_rule(opacity=0.6)
    front = _chart(pareto(means))
    steps = front.mark_line(interpolate="step-after", strokeDash=[5, 3], color=GREY)
    seeds = _chart(runs).mark_point(size=16, filled=True, opacity=0.5)
    chart = alt.layer(
        steps.encode(x=x, y=y),
        rules.encode(y="score_low:Q", y2="score_high:Q"),
        rules.encode(x="minutes_low:Q", x2="minutes_high:Q"),
        seeds.encode(x=x, y=y, color=colour, tooltip=_tips({"run": ("run", ""), **titles})),
        base.mark_point(size=90, filled=True, opacity=1).encode(shape=shape),
    ).properties(width=WIDTH, height=HEIGHT * 1.2)
    elsewhere = len(c.trained) - len(shown)
    note = f"left out, as they ran on another device: {elsewhere} methods" if elsewhere else ""
    front_note = "dashed: nothing is both faster and better; bars: one standard deviation"
    return _finished(chart, c.frames, "Score against training time", front_note, note)


def pareto(found: pd.DataFrame) -> pd.DataFrame:
    """The rows that none beats in minutes and score, the fastest first; of equals the first one."""
    found = found.sort_values(["minutes", "score"], ascending=[True, False], kind="stable")
    return found[~(found["score"] <= found["score"].cummax().shift())]


def _dev_sample(frames: Frames) -> str:
    most = frames.runs["dev_sample"].min()
    return "" if pd.isna(most) else f"scored on at most {most:,} dev examples of a task"


def progress(source: Compared, setting: str = "A", by: str = "epoch") -> Any | None:
    """Score after each scored epoch, ``by`` epoch or examples, in a ``setting`` of ``source``."""
    c = compared(source, setting)
    scored = c.frames.epochs.dropna(subset="epoch_score").drop_duplicates(["run", "epoch"])
    if scored.empty:
        return None
    # Where a method's seeds saw different numbers of examples, they meet at the mean.
    seen = scored.groupby(["method", "epoch"], observed=True)["examples_so_far"].transform("mean")
    points = pd.DataFrame({
        "panel": SCORE, "series": scored["method"].astype(str),
        "x": scored["epoch"] if by == "epoch" else seen, "y": scored["epoch_score"],
    })  # fmt: skip
    title = "epoch" if by == "epoch" else "training examples seen, repeats included"
    heading = "Score over epochs" if by == "epoch" else "Score over examples seen"
    return _lines(c.frames, points, looks(c.frames.runs["method"]), {SCORE: ("dev score", "score")},
                  (title, "n"), "method", heading, _dev_sample(c.frames),
                  log=by != "epoch")  # fmt: skip


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
    heading = f"The effect of {of}"
    return _lines(c.frames, points, looks(curves), panels, x_axis, "method", heading,
                  log=of == "B")  # fmt: skip


def imbalance(source: Source | Frames) -> Any | None:
    """Score and worst task against the ratio of sizes, of settings that differ in it alone."""
    frames = read(source)
    found = summaries.imbalance(frames)
    found = found[found["series"] == next(iter(found["series"]), "")]
    if found.empty:
        return None
    own = frames.only(frames.runs[frames.runs["setting"].isin(found["setting"])])
    points = found.drop(columns="series").rename(
        columns={"what": "panel", "method": "series", "ratio": "x", "value": "y"}
    )
    panels = _panels(own)
    panels = {SCORE: panels[SCORE], summaries.WORST: (summaries.WORST, "worst"), **panels}
    title = ("largest training set to each other", "imbalance")
    return _lines(own, points, looks(points["series"].unique()), panels, title, "method",
                  "Scores against the imbalance of sizes", log=True)  # fmt: skip


def conflicts(source: Compared, setting: str = "A", by: str = "method") -> Any | None:
    """How often pairs of tasks' gradients point against each other.

    Args:
        source: of the runs.
        setting: its letter.
        by: ``method``, or ``part`` of the encoder, which also shows the mean cosine.
    """
    c = compared(source, setting)
    found, note = _few(summaries.pairs(c.frames, *({by} - {"method"})), "pair", "conflicting")
    if found.empty:
        return None
    cells = found.groupby([by, "pair"], observed=True, sort=False)[["conflicting", "cosine"]].mean()
    cells = cells.reset_index().rename(columns={"pair": "x", by: "y"}).astype({"y": str})
    half = max(0.1, float((cells["conflicting"] - 0.5).abs().max()))
    reach = max(0.05, float(cells["cosine"].abs().max()))  # weaker cosines are near nothing
    ends = {"conflicting": (0.5 + half, 0.5 - half), "cosine": (-reach, reach)}
    charts = [
        _heat(cells.assign(value=cells[name]), column(name).title, name, "redblue", ends[name],
              {"cosine": ("mean cosine", "cosine")})
        for name in (["conflicting"] if by == "method" else ["cosine", "conflicting"])
    ]  # fmt: skip
    chart = alt.hconcat(*charts).resolve_scale(color="independent")
    heading = "Conflicts between tasks" if by == "method" else "Conflicts by part of the encoder"
    return _finished(chart if len(charts) > 1 else charts[0], c.frames, heading, HALF, note)


def usage(source: Compared, setting: str = "A") -> Any | None:
    """The share of each training set that every method saw at least once."""
    c = compared(source, setting)
    found = summaries.usage(c.frames)
    if found.empty:
        return None
    x, y = ("task", "method") if len(c.tasks) <= FEW else ("method", "task")
    cells = found[[x, y, "fraction", "effective_epochs"]].astype({x: str, y: str})
    cells = cells.rename(columns={x: "x", y: "y", "fraction": "value"})
    more = {"effective_epochs": ("effective epochs, repeats included", "effective_epochs")}
    chart = _heat(cells, "of the training set", "fraction", "greens", (0, 1), more)
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
        cells = confusion(found, names).stack().reset_index().set_axis(["y", "x", "value"], axis=1)
        left = _heat(
            cells, "share of the true class", "share", "blues", (0, 1), x_title="predicted"
        )
        counts = {name: (row["labels"] or {}).get(name, 0) for name in names}
        right = _bars(counts, "training labels", max(20 * len(names), 60))
    elif row["scale"] is not None:
        left = _scatter(found, row["scale"])
        groups = distance_groups((found["prediction"] - found["label"]).abs())
        right = _bars(groups, "distance d = |predicted − true|", 100)
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
    shares = shares.reindex(classes, fill_value=0).reindex(classes, axis=1, fill_value=0)
    return shares.set_axis(list(names)).set_axis(list(names), axis=1)


def distance_groups(distances: pd.Series) -> dict[str, int]:
    """Examples by how far the prediction lies from the label."""
    groups = pd.cut(distances, [-1, *FARTHEST.values()], labels=list(FARTHEST))
    return {str(name): int(n) for name, n in groups.value_counts(sort=False).items()}


def _scatter(found: pd.DataFrame, ends: tuple[float, float]) -> Any:
    """True against predicted values."""
    r = whole("pearson", found["label"].to_numpy(), found["prediction"].to_numpy()[None])[0]
    title = f"Pearson r = {write('value', r)}, N = {write('n', len(found))}"
    if len(found) > MANY:
        found, title = found.sample(MANY, random_state=0), f"{title} ({MANY:,} drawn)"
    shown = found[["id", "label", "prediction"]].set_axis(["id", "x", "y"], axis=1)
    x = alt.X("x:Q", title="true", scale=alt.Scale(domain=list(ends)))
    y = alt.Y("y:Q", title="predicted", scale=alt.Scale(zero=False))
    dots = _chart(shown).mark_point(size=12, filled=True, opacity=0.4, color=SERIES[0])
    tips = {"id": ("id", ""), "x": ("true", "value"), "y": ("predicted", "value")}
    dots = dots.encode(x=x, y=y, tooltip=_tips(tips))
    line = _chart(pd.DataFrame({"x": ends, "y": ends})).mark_line(strokeDash=[4, 3], color=GREY)
    chart = alt.layer(line.encode(x=x, y=y), dots)
    return chart.properties(width=240, height=240, title=_head(title))
