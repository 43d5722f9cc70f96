"""Charts of what runs say, as Altair charts; ``analysis.figure``.

    analysis.figure.tradeoff("runs").save("tradeoff.svg")

A function takes directories, frames or some rows of ``runs``, and the letter of a setting. Those
about the course of training draw means over the runs given. A method has the same colour and shape
in every chart of the same runs; dots are seeds. Where there is nothing to draw, there is None.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
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
    "rr": "#0072B2", "annealed": "#E69F00", "vanilla": "#009E73", "arrp": "#D55E00",
    "full": "#CC79A7", "single": "#56B4E9", "random": "#8A8A8A",
}  # fmt: skip
"""Okabe and Ito's, which the colour-blind can tell apart."""
OTHER = "#A08A00"  # a darker yellow: Okabe and Ito's own is lost on white
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", OTHER, "#5B5B5B")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right",
          "triangle-left")  # fmt: skip
GREY = "#888888"
WIDTH, HEIGHT = 420, 270  # pixels
FEW = 12  # tasks or pairs that a chart can show
LIMITS = (0.5, 1.0, 2.0)  # of the distance between true and predicted values; not the paper's
_MANY = 3_000  # points that a chart should not hold one by one
Looks = Mapping[str, tuple[str, str]]  # series -> colour and shape
Panels = Mapping[str, tuple[str, str]]  # panel -> its axis' title, the column whose form it has


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
    return (
        chart.properties(title=heading, background="transparent")
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal",
                        gridColor="#e6e6e6", labelLimit=320)
        .configure_legend(labelFontSize=11, titleFontSize=12, labelLimit=320, symbolLimit=60,
                          symbolOpacity=1)
        .configure_title(fontSize=14, subtitleFontSize=11, offset=12)
        .configure_view(strokeOpacity=0)
    )  # fmt: skip


def _head(text: str) -> alt.TitleParams:
    """The title of one chart of several."""
    return alt.TitleParams(text, fontSize=12, fontWeight="normal", anchor="middle")


def looks(frames: Frames) -> dict[str, tuple[str, str]]:
    """Method -> colour and shape, for all charts of the same runs."""
    return _looks(pd.Categorical(frames.runs["method"]).categories)


def _looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A hue for each sampler, a shade and a shape for each of its variants."""
    families: dict[str, list[str]] = {}
    for name in names:
        known = [sampler for sampler, lead in NAMES.items() if name.startswith(lead)]
        families.setdefault(known[0] if known else "", []).append(name)
    return {
        name: (_shade(COLOURS.get(sampler, OTHER), (n + 0.5) / len(members)), _shape(n))
        for sampler, members in families.items()
        for n, name in enumerate(members)
    }


def _shade(colour: str, place: float) -> str:
    """The colour, darker where the place is below a half, lighter where it is above."""
    target, share = (0, 0.9 * (0.5 - place)) if place < 0.5 else (255, place - 0.5)
    parts = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (target - part)):02x}" for part in parts)


def _shape(place: int) -> str:
    return SHAPES[place % len(SHAPES)]


def _marks(styles: Looks, shown: Iterable[str], title: str) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the field series, with one legend of those that are shown."""
    names = [name for name in styles if name in set(shown)]
    scales = [alt.Scale(domain=names, range=[styles[name][n] for name in names]) for n in (0, 1)]
    kind: dict[str, Any] = {"shorthand": "series:N", "legend": alt.Legend(title=title)}
    return alt.Color(scale=scales[0], **kind), alt.Shape(scale=scales[1], **kind)


def _x(field: str, values: pd.Series, title: str, *, log: bool = False) -> alt.X:
    """The axis below: ticks at the values where they are few."""
    ticks = sorted(map(float, values.unique()))
    own: dict[str, Any] = {"values": ticks, "format": ",~r", "labelOverlap": True}
    if len(ticks) > FEW and log:  # d3 draws a line for every digit, and writes at few of them
        powers = range(int(np.floor(np.log10(ticks[0]))), int(np.ceil(np.log10(ticks[-1]))) + 1)
        digits = (1, 2, 5) if ticks[-1] > 10 * ticks[0] else (1, 1.5, 2, 3, 4, 5, 7)
        own["values"] = [float(f"{digit}e{power}") for power in powers for digit in digits]
    elif len(ticks) > FEW:
        own = {"tickCount": 6}
    kind: dict[str, Any] = {"type": "log"} if log else {"zero": False}
    scale = alt.Scale(nice=False, padding=10, **kind)
    name = title + (" (log scale)" if log else "")
    return alt.X(f"{field}:Q", title=name, axis=alt.Axis(**own), scale=scale)


def _tips(**fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in fields.items()]


def _texts(form: str, means: Iterable[Any], deviations: Iterable[Any] | None = None) -> list[str]:
    """Numbers as readers see them."""
    if deviations is None:
        return [write(form, mean) for mean in means]
    return [write(form, m, sd) for m, sd in zip(means, deviations, strict=True)]


def _lines(
    points: pd.DataFrame, styles: Looks, panels: Panels, x_title: str, title: str, *,
    log: bool = False,
) -> Any:  # fmt: skip
    """Lines through means, with the repetitions as dots, in a panel for each measure.

    Args:
        points: rows of panel, series, x, y; several of the same x are repetitions.
        styles: of the series, in the legend's order.
        panels: those that may be shown.
        x_title: of the axis below.
        title: of the legend.
        log: whether that axis is logarithmic.
    """
    points = points.dropna(subset="y").astype({"x": float})
    panels = {name: each for name, each in panels.items() if (points["panel"] == name).any()}
    colour, shape = _marks(styles, points["series"], title)
    chosen = alt.selection_point(fields=["series"], bind="legend")
    faded = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.1))
    several, charts = len(panels) > 1, []
    size = {"width": WIDTH * (0.62 if several else 1), "height": HEIGHT * (0.7 if several else 1)}
    for panel, (y_title, form) in panels.items():
        own = points[points["panel"] == panel]
        own = own.assign(shown=_texts(form, own["y"]))
        groups = own.groupby(["series", "x"], sort=False)["y"]
        means = groups.agg(["mean", "std", "size"]).reset_index().sort_values("x")
        means["shown"] = _texts(form, means["mean"], means["std"])
        means["at"] = [f"{x:,.6g}" for x in means["x"]]
        percent = alt.Axis(format="%") if column(form).form.endswith("%") else alt.Axis()
        x = _x("x", own["x"], x_title, log=log)
        y = alt.Y("mean:Q", title=y_title, scale=alt.Scale(zero=False), axis=percent)
        tips = _tips(series=title, at=x_title, shown=y_title, size="n")
        base = _chart(means).encode(x=x, y=y, color=colour, opacity=faded, tooltip=tips)
        dots = _chart(own[groups.transform("size") > 1]).mark_point(size=16, filled=True)
        charts.append(alt.layer(
            base.mark_line(strokeWidth=1.6),
            dots.encode(x=x, y="y:Q", color=colour, opacity=alt.value(0.5),
                        tooltip=_tips(series=title, shown="a seed's")),
            base.mark_point(size=42, filled=True).encode(shape=shape),
        ).properties(**size))  # fmt: skip
    charts[0] = charts[0].add_params(chosen)
    return alt.concat(*charts, columns=2) if several else charts[0]


def _heat(
    cells: pd.DataFrame, title: str, form: str, scheme: str, ends: tuple[float, float],
    x_title: str | None = None,
) -> Any:  # fmt: skip
    """A heat map of the fields x, y (in their order) and value, with the numbers written in.

    Args:
        cells: rows of x, y and value, and perhaps more, which the pointer shows.
        title: above it.
        form: the column whose form its numbers have.
        scheme: Vega's name; of a diverging one the middle is light, of another the low end.
        ends: the values of the scheme's ends.
        x_title: of the axis below.
    """
    middle, reach = sum(ends) / 2, abs(ends[1] - ends[0]) / 2
    far = (cells["value"] - middle).abs() / reach if "red" in scheme else cells["value"] / ends[1]
    cells = cells.assign(shown=_texts(form, cells["value"]), dark=far > 0.65)
    more = {"more": "also"} if "more" in cells else {}
    base = _chart(cells).encode(
        x=alt.X("x:N", title=x_title, sort=None, axis=alt.Axis(labelAngle=-30, ticks=False)),
        y=alt.Y("y:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
        tooltip=_tips(y="row", x="column", shown=title, **more),
    )
    kind: dict[str, Any] = {"scheme": scheme, "domain": sorted(ends), "reverse": ends[0] > ends[1]}
    colour = alt.Color("value:Q", scale=alt.Scale(**kind), legend=None)
    ink = alt.when("datum.dark").then(alt.value("white")).otherwise(alt.value("#222222"))
    text = base.mark_text(fontSize=10).encode(text="shown:N", color=ink)
    width, height = max(48 * cells["x"].nunique(), 130), max(20 * cells["y"].nunique(), 60)
    chart = alt.layer(base.mark_rect(stroke="white").encode(color=colour), text)
    return chart.properties(title=_head(title), width=width, height=height)


def _few(found: pd.DataFrame, name: str, by: str) -> tuple[pd.DataFrame, str]:
    """Rows of the tasks or pairs that a chart can show, the highest ones, and a note about it."""
    means, note = found.groupby(name, observed=True)[by].mean(), ""
    if len(means) > FEW:
        found = found[found[name].isin(means.nlargest(FEW).index)]
        note = f"the {FEW} of {len(means)} that are highest in {column(by).title}"
    return found.assign(**{name: found[name].astype(str)}), note


def tradeoff(source: Compared, setting: str = "A") -> Any | None:
    """Score against training time, with the Pareto front: nothing is both faster and better.

    Times compare on one device only, so methods of another than most are left out.
    """
    c = compared(source, setting)
    if not c.trained:
        return None
    devices = {method: frozenset(c.of(method)["device"]) for method in c.trained}
    ((device, _),) = Counter(devices.values()).most_common(1)
    shown = [method for method in c.trained if devices[method] == device]
    runs = c.frames.runs[c.frames.runs["method"].isin(shown)]
    runs = runs.assign(series=runs["method"].astype(str))[["series", "run", "minutes", "score"]]
    runs = runs.assign(shown=_texts("score", runs["score"]))
    groups = runs.groupby("series")[["minutes", "score"]]
    means = groups.mean().join(groups.std().add_suffix("_sd")).assign(n=groups.size())
    means = means.loc[shown].reset_index()
    for name in ("minutes", "score"):
        mean, sd = means[name], means[f"{name}_sd"]
        means[f"{name}_text"] = _texts(name, mean, sd)
        means[f"{name}_low"] = (mean - sd.fillna(0)).clip(mean / 10)
        means[f"{name}_high"] = mean + sd.fillna(0)
    log = bool((runs["minutes"] > 0).all())
    x = _x("minutes", runs["minutes"], "minutes per epoch", log=log)
    y = alt.Y("score:Q", title="dev score", scale=alt.Scale(zero=False, padding=10))
    colour, shape = _marks(looks(c.frames), shown, "method")
    tips = _tips(series="method", score_text="score", minutes_text="minutes per epoch", n="n")
    base = _chart(means).encode(color=colour, tooltip=tips)
    front = _chart(means.loc[pareto(means["minutes"].to_list(), means["score"].to_list())])
    dots = _chart(runs).mark_point(size=16, filled=True, opacity=0.5)
    chart = alt.layer(
        front.mark_line(interpolate="step-after", strokeDash=[5, 3], color=GREY).encode(x=x, y=y),
        base.mark_rule(opacity=0.6).encode(x=x, y="score_low:Q", y2="score_high:Q"),
        base.mark_rule(opacity=0.6).encode(x="minutes_low:Q", x2="minutes_high:Q", y=y),
        dots.encode(x=x, y=y, color=colour, tooltip=_tips(run="run", shown="score")),
        base.mark_point(size=90, filled=True, opacity=1).encode(x=x, y=y, shape=shape),
    ).properties(width=WIDTH, height=HEIGHT * 1.2)
    elsewhere = len(c.trained) - len(shown)
    note = f"left out, as they ran on another device: {elsewhere} methods" if elsewhere else ""
    front_note = "dashed: nothing is both faster and better; bars: one standard deviation"
    return _finished(chart, c.frames, "Score against training time", front_note, note)


def pareto(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """The places that nothing beats in both, cheapest first; of equals the first one."""
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[place] > gains[front[-1]]:
            front.append(place)
    return front


def _dev_sample(frames: Frames) -> str:
    most = frames.runs["dev_sample"].min()
    return "" if pd.isna(most) else f"scored on at most {most:,} dev examples of a task"


def progress(source: Compared, setting: str = "A", by: str = "epoch") -> Any | None:
    """Score after each epoch that was scored, against the ``epoch`` or the ``examples`` seen."""
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
    panels = {SCORE: ("dev score", "score")}
    chart = _lines(points, looks(c.frames), panels, title, "method", log=by != "epoch")
    heading = "Score over epochs" if by == "epoch" else "Score over examples seen"
    return _finished(chart, c.frames, heading, _dev_sample(c.frames))


def _panels(frames: Frames, *more: str) -> Panels:
    """Panels of the score and, where they are few, of each task's metric."""
    rows = frames.scores.drop_duplicates("task")
    tasks = {t: (f"{t}: {m}", "value") for t, m in zip(rows["task"], rows["metric"], strict=True)}
    lead = {SCORE: ("dev score", "score"), **{name: (name, "worst") for name in more}}
    return lead | (tasks if len(tasks) <= FEW else {})


def effect(source: Compared, setting: str = "A", of: str = "λ") -> Any | None:
    """What ``λ`` or ``B`` does; methods that differ in nothing else are joined."""
    c = compared(source, setting)
    curves: dict[str, dict[float, str]] = {}
    for method in c.trained:
        own = c.frames.methods[c.of(method)["run"].iloc[0]]
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
    chart = _lines(points, _looks(curves), panels, of, "method", log=of == "B")
    return _finished(chart, c.frames, f"The effect of {of}")


HALF = "unrelated gradients are in conflict in about half of the steps"


def _around_half(shares: pd.Series) -> tuple[float, float]:
    """Ends of a scale that has the light of its middle there, and red above."""
    reach = max(0.1, float((shares - 0.5).abs().max()))
    return 0.5 + reach, 0.5 - reach


def _pair_cells(found: pd.DataFrame, rows: str) -> tuple[pd.DataFrame, str]:
    """Cells of rows by pairs: mean cosine and share in conflict; and a note."""
    found, note = _few(found, "pair", "conflicting")
    groups = found.groupby([rows, "pair"], observed=True, sort=False)[["conflicting", "cosine"]]
    cells = groups.mean().reset_index()
    return cells.assign(x=cells["pair"], y=cells[rows].astype(str)), note


def conflicts(source: Compared, setting: str = "A") -> Any | None:
    """How often each pair of tasks' gradients point against each other, method by method."""
    c = compared(source, setting)
    cells, note = _pair_cells(summaries.pairs(c.frames), "method")
    if cells.empty:
        return None
    cells["more"] = [f"mean cosine {text}" for text in _texts("cosine", cells["cosine"])]
    cells = cells.assign(value=cells["conflicting"])[["x", "y", "value", "more"]]
    ends = _around_half(cells["value"])
    chart = _heat(cells, "steps in conflict", "conflicting", "redblue", ends)
    return _finished(chart, c.frames, "Conflicts between tasks", HALF, note)


def layers(source: Source | Frames) -> Any | None:
    """Parts of the encoder against pairs of tasks: mean cosine and steps in conflict."""
    frames = read(source)
    cells, note = _pair_cells(summaries.pairs(frames, "part"), "part")
    if cells.empty:
        return None
    reach = max(0.05, float(cells["cosine"].abs().max()))  # weaker cosines are near nothing
    ends = {"cosine": (-reach, reach), "conflicting": _around_half(cells["conflicting"])}
    charts = []
    for name, each in ends.items():
        own = cells[["x", "y"]].assign(value=cells[name])
        charts.append(_heat(own, column(name).title, name, "redblue", each))
    chart = alt.hconcat(*charts).resolve_scale(color="independent")
    return _finished(chart, frames, "Conflicts by part of the encoder", HALF, note)


def _over_epochs(
    frames: Frames, found: pd.DataFrame, series: str, measures: Sequence[str], by: str,
    *about: str,
) -> Any | None:  # fmt: skip
    """Lines of some columns over the epochs; ``about`` is the title and notes."""
    found, note = _few(found, series, by)
    if found.empty:
        return None
    long = found.rename(columns={series: "series", "epoch": "x"})
    points = long.melt(["series", "x"], list(measures), "panel", "y")
    names = long["series"].unique()
    styles = {name: (SERIES[n % len(SERIES)], _shape(n)) for n, name in enumerate(names)}
    panels = {name: (column(name).title, name) for name in measures}
    return _finished(_lines(points, styles, panels, "epoch", series), frames, *about, note)


def conflicts_over_epochs(source: Source | Frames) -> Any | None:
    """Mean cosine and share of steps in conflict of each pair, over all runs given."""
    frames, both = read(source), ("cosine", "conflicting")
    found, title = summaries.pairs(frames, "epoch"), "Conflicts over the epochs"
    return _over_epochs(frames, found, "pair", both, "conflicting", title, HALF)


def update_parts(source: Source | Frames) -> Any | None:
    """Each task in the update of joint steps, over all runs given."""
    frames, measures = read(source), ("norm", "share", "before", "after")
    found, title = summaries.influences(frames, "epoch"), "Each task in the update"
    note = "joint steps only, where the parts add up to 100 %"
    return _over_epochs(frames, found, "task", measures, "share", title, note)


def curves(source: Source | Frames) -> Any | None:
    """Training loss and dev metric of each task, and the score, over all runs given."""
    frames = read(source)
    found = frames.epochs.astype({"task": str})
    score = found.drop_duplicates(["run", "epoch"])
    score = score.assign(task=SCORE, value=score["epoch_score"], loss=np.nan)
    about = ("Losses and dev metrics", _dev_sample(frames))
    both = pd.concat([found, score])
    return _over_epochs(frames, both, "task", ("loss", "value"), "value", *about)


def answers(source: Source | Frames, run: str, task: str) -> Any:
    """A run's answers to a dev set: a confusion matrix, or true against predicted values.

    Raises:
        UnusableError: its predictions are missing or damaged, or of a kind not known here.
    """
    frames = read(source)
    own = frames.only(frames.runs[frames.runs["run"] == run])
    row = own.scores[own.scores["task"] == task].iloc[0]
    found = frames.answers(run, task)
    if row["classes"] is not None:
        chart = _confusion(found, row["classes"], row["labels"] or {})
    elif row["scale"] is not None:
        chart = _scatter(found, row["scale"])
    else:
        raise UnusableError(f"{task}: its answers are neither classes nor numbers on a scale")
    return _finished(chart, own, f"{task}: answers of {run}")


def confusion(found: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Shares of each true class (rows) by predicted class; rows without examples are 0.

    Raises:
        UnusableError: an answer that is no class.
    """
    classes = range(len(names))
    if not found[["label", "prediction"]].isin(classes).to_numpy().all():
        raise UnusableError("predictions are not among the classes")
    counts = pd.crosstab(found["label"], found["prediction"])
    counts = counts.reindex(classes, fill_value=0).reindex(classes, axis=1, fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(1), axis=0)
    return shares.set_axis(list(names)).set_axis(list(names), axis=1)


def _bars(names: Sequence[str], counts: Sequence[int], title: str, height: float) -> Any:
    """Counts as bars that lie, with their numbers."""
    shown = [write("examples", n) for n in counts]
    scale = alt.Scale(domain=[0, 1.2 * max(1, *counts)], nice=False)
    base = _chart(pd.DataFrame({"name": list(names), "n": list(counts), "shown": shown})).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False)),
        x=alt.X("n:Q", title="examples", scale=scale, axis=alt.Axis(tickCount=4)),
        tooltip=_tips(name="what", shown="examples"),
    )
    text = base.mark_text(fontSize=10, color=GREY, align="left", dx=4).encode(text="shown:N")
    bars = alt.layer(base.mark_bar(color=SERIES[0]), text)
    return bars.properties(title=_head(title), width=200, height=height)


def _confusion(found: pd.DataFrame, names: Sequence[str], labels: Mapping[str, int]) -> Any:
    """The paper's Figures 2 and 3: each true class is a row that adds up to 1; training labels."""
    cells = confusion(found, names).stack().reset_index()
    cells.columns = pd.Index(["y", "x", "value"])
    left = _heat(cells, "share of the true class", "share", "blues", (0, 1), "predicted")
    counts = [labels.get(name, 0) for name in names]
    return alt.hconcat(left, _bars(names, counts, "training labels", max(20 * len(names), 60)))


def distance_groups(distances: pd.Series) -> dict[str, int]:
    """Examples by how far the prediction lies from the label."""
    between = [f"{a:g} < d ≤ {b:g}" for a, b in pairwise(LIMITS)]
    names = [f"d ≤ {LIMITS[0]:g}", *between, f"d > {LIMITS[-1]:g}"]
    return dict(pd.cut(distances, [-1, *LIMITS, np.inf], labels=names).value_counts(sort=False))


def _scatter(found: pd.DataFrame, ends: tuple[float, float]) -> Any:
    """The paper's Figure 4: true against predicted values, and how far they lie apart."""
    r = whole("pearson", found["label"].to_numpy(), found["prediction"].to_numpy()[None])[0]
    shown = found if len(found) <= _MANY else found.sample(_MANY, random_state=0)
    shown = shown[["id", "label", "prediction"]].assign(
        true=_texts("value", shown["label"]), told=_texts("value", shown["prediction"])
    )
    x = alt.X("label:Q", title="true", scale=alt.Scale(domain=list(ends)))
    y = alt.Y("prediction:Q", title="predicted", scale=alt.Scale(zero=False))
    dots = _chart(shown).mark_point(size=12, filled=True, opacity=0.4, color=SERIES[0])
    line = _chart(pd.DataFrame({"label": ends, "prediction": ends}))
    title = f"Pearson r = {write('value', r)}, N = {write('n', len(found))}"
    title += f" ({_MANY:,} drawn)" if len(shown) < len(found) else ""
    left = alt.layer(
        line.mark_line(strokeDash=[4, 3], color=GREY).encode(x=x, y=y),
        dots.encode(x=x, y=y, tooltip=_tips(id="id", true="true", told="predicted")),
    ).properties(width=240, height=240, title=_head(title))
    groups = distance_groups((found["prediction"] - found["label"]).abs())
    counts = [int(n) for n in groups.values()]
    return alt.hconcat(left, _bars(list(groups), counts, "distance d = |predicted − true|", 100))


def imbalance(source: Source | Frames, series: str | None = None) -> Any | None:
    """Score and worst task against the ratio of sizes, of settings that differ in it alone.

    Args:
        source: of the runs.
        series: of several, the one (``alike`` of the settings); else the first.
    """
    frames = read(source)
    found = summaries.imbalance(frames)
    found = found[found["series"] == (series or next(iter(found["series"]), ""))]
    if found.empty:
        return None
    own = frames.only(frames.runs[frames.runs["setting"].isin(found["setting"])])
    points = found.drop(columns="series").rename(
        columns={"what": "panel", "method": "series", "ratio": "x", "value": "y"}
    )
    like = {m.removesuffix(", any B"): m for m in points["series"].unique()}
    styles = {like[m]: look for m, look in looks(own).items() if m in like}
    styles |= {m: (OTHER, _shape(n)) for n, m in enumerate(like.values()) if m not in styles}
    title = "largest training set to each other"
    panels = _panels(own, summaries.WORST)
    chart = _lines(points, styles, panels, title, "method", log=True)
    return _finished(chart, own, "Scores against the imbalance of sizes")


def usage(source: Compared, setting: str = "A") -> Any | None:
    """The share of each training set that every method saw at least once."""
    c = compared(source, setting)
    found = summaries.usage(c.frames)
    if found.empty:
        return None
    x, y = ("task", "method") if len(c.tasks) <= FEW else ("method", "task")
    cells = found.assign(x=found[x].astype(str), y=found[y].astype(str), value=found["fraction"])
    epochs = _texts("effective_epochs", cells["effective_epochs"])
    cells["more"] = [f"{each} effective epochs, repeats included" for each in epochs]
    cells = cells[["x", "y", "value", "more"]]
    chart = _heat(cells, "of the training set", "fraction", "greens", (0, 1))
    return _finished(chart, c.frames, "Data seen at least once")
