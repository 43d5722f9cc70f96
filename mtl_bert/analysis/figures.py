"""Charts of what runs say, as Altair charts; ``analysis.figure``.

    analysis.figure.tradeoff("runs").save("tradeoff.svg")

A function takes directories, frames or some rows of ``runs``, and the letter of a setting. Those
about the course of training take the runs that are shown, and draw means over them. A method has
the same colour and shape in every chart of the same runs, and dots are seeds.
"""

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mtl_bert.analysis import summaries
from mtl_bert.analysis.columns import column, write
from mtl_bert.analysis.frames import Frames, Source, UnusableError, read
from mtl_bert.analysis.leaderboard import MARGIN, SCORE, Comparison
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
WIDTH, HEIGHT = 420, 260  # pixels of a chart; of two side by side each is half as wide
LIMITS = (0.5, 1.0, 2.0)  # of the distance between true and predicted values; not the paper's
_MANY = 3_000  # points that a chart should not hold one by one


def _chart(frame: pd.DataFrame) -> alt.Chart:
    """A chart of a frame's rows, however many; a missing value is null."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return alt.Chart(alt.Data(values=rows))


def _finished(chart: Any, frames: Frames, title: str, note: str = "") -> Any:
    """The chart with its title; below it what no reader may overlook, and a note."""
    lines = []
    for row in frames.settings.to_dict("records")[:1]:
        lines = [" · ".join((*row["words"]["data"]["name"].splitlines(), frames.runs["encoder"].iloc[0],
                             *(flag for flag, _ in row["badges"])))]  # fmt: skip
    lines += [note] if note else []
    heading = alt.TitleParams(title, subtitle=lines, anchor="start", subtitleColor=GREY)
    return (
        chart.properties(title=heading, background="transparent")
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", grid=True,
                        gridOpacity=0.5, labelLimit=320)
        .configure_legend(labelFontSize=11, titleFontSize=12, labelLimit=320, symbolLimit=60)
        .configure_title(fontSize=14, subtitleFontSize=11, offset=12)
        .configure_view(strokeOpacity=0)
    )  # fmt: skip


def looks(frames: Frames) -> dict[str, tuple[str, str]]:
    """Method -> colour and shape: a hue for each sampler, a shade for each of its variants."""
    families: dict[str, list[str]] = {}
    for method in frames.runs["method"].cat.categories:
        known = [s for s, name in NAMES.items() if method.startswith(name)]
        families.setdefault(known[0] if known else "", []).append(method)
    found = {}
    for sampler, members in families.items():
        red, green, blue = (
            int(COLOURS.get(sampler, OTHER)[n : n + 2], 16) / 255 for n in (1, 3, 5)
        )
        hue, light, full = colorsys.rgb_to_hls(red, green, blue)
        for place, method in enumerate(members):
            shade = light + (0.5 * place / max(1, len(members) - 1) - 0.25 if members[1:] else 0)
            rgb = colorsys.hls_to_rgb(hue, min(max(shade, 0.2), 0.75), full)
            colour = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
            found[method] = (colour, SHAPES[place % len(SHAPES)])
    return found


def _series_looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    return {
        name: (SERIES[n % len(SERIES)], SHAPES[n % len(SHAPES)]) for n, name in enumerate(names)
    }


def _marks(
    styles: Mapping[str, tuple[str, str]], shown: Sequence[str], title: str
) -> dict[str, Any]:
    """Colour and shape of the field series, with one legend of those that are shown."""
    names = [name for name in styles if name in set(shown)]
    ranges = list(zip(*(styles[name] for name in names), strict=True)) or [(), ()]
    legend = alt.Legend(title=title, orient="right")
    return {
        "color": alt.Color("series:N", scale=alt.Scale(domain=names, range=list(ranges[0])),
                           legend=legend),
        "shape": alt.Shape("series:N", scale=alt.Scale(domain=names, range=list(ranges[1])),
                           legend=legend),
    }  # fmt: skip


def _tips(**fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in fields.items()]


def _lines(
    points: pd.DataFrame,
    styles: Mapping[str, tuple[str, str]],
    panels: Mapping[str, tuple[str, str]],
    x_title: str,
    title: str,
    *,
    log: bool = False,
) -> Any:
    """Lines through means, with the repetitions as dots, in a panel for each measure.

    Args:
        points: rows of panel, series, x, y; several of the same x are repetitions.
        styles: series -> colour and shape.
        panels: panel -> its axis' title, and the column whose form its numbers have.
        x_title: of the axis below.
        title: of the legend.
        log: whether that axis is logarithmic.
    """
    whole_numbers = not log and bool((points["x"] == points["x"].round()).all())
    axis = alt.Axis(tickMinStep=1, format="d") if whole_numbers else alt.Axis(tickCount=6)
    x = alt.X("x:Q", title=x_title, axis=axis,
              scale=alt.Scale(type="log" if log else "linear", zero=False, nice=not whole_numbers))  # fmt: skip
    marks = _marks(styles, points["series"].unique(), title)
    charts = []
    for panel, (y_title, form) in panels.items():
        own = points[points["panel"] == panel].dropna(subset="y")
        means = own.groupby(["series", "x"], sort=False)["y"].agg(["mean", "std", "size"])
        means = means.reset_index().sort_values("x")
        means["shown"] = [
            write(form, m, s) for m, s in zip(means["mean"], means["std"], strict=True)
        ]
        means["at"] = [f"{v:,.6g}" for v in means["x"]]
        y = alt.Y("mean:Q", title=y_title, scale=alt.Scale(zero=False),
                  axis=alt.Axis(format="%" if column(form).form.endswith("%") else ""))  # fmt: skip
        tips = _tips(series=title, at=x_title, shown=y_title, size="n")
        base = _chart(means).encode(x=x, tooltip=tips)
        dots = _chart(own[own.groupby(["series", "x"])["y"].transform("size") > 1])
        dots = dots.mark_point(size=9, opacity=0.45, filled=True).encode(
            x=x, y=alt.Y("y:Q"), color=marks["color"]
        )
        line = base.mark_line(strokeWidth=1.6).encode(y=y, color=marks["color"])
        mark = base.mark_point(size=42, filled=True, opacity=1).encode(y=y, **marks)
        charts.append(alt.layer(line, dots, mark))
    several = len(charts) > 1
    size = {"width": WIDTH * (0.62 if several else 1), "height": HEIGHT * (0.72 if several else 1)}
    charts = [chart.properties(**size) for chart in charts]
    return alt.concat(*charts, columns=2) if several else charts[0]


def _heat(
    cells: pd.DataFrame, x_title: str, title: str, form: str, scheme: str, ends: tuple[float, float]
) -> Any:
    """A heat map of the fields x, y (in their order) and value, with the numbers written in."""
    low, high = ends
    cells = cells.assign(shown=[write(form, value) for value in cells["value"]])
    # The middle of a diverging scheme is light, of another one the low end.
    middle, reach = ((low + high) / 2, (high - low) / 2) if low < 0 else (low, high - low)
    cells["dark"] = (cells["value"] - middle).abs() > 0.6 * reach
    base = _chart(cells).encode(
        x=alt.X("x:N", title=x_title, sort=None, axis=alt.Axis(labelAngle=-30, grid=False)),
        y=alt.Y("y:N", title=None, sort=None, axis=alt.Axis(grid=False)),
        tooltip=_tips(y=" ", x=x_title or "  ", shown=title, more="more")
        if "more" in cells else _tips(y=" ", x=x_title or "  ", shown=title),
    )  # fmt: skip
    colour = alt.Color("value:Q", scale=alt.Scale(scheme=scheme, domain=[low, high]), legend=None)
    ink = alt.when("datum.dark").then(alt.value("white")).otherwise(alt.value("#222222"))
    rect = base.mark_rect(stroke="white", strokeWidth=1).encode(color=colour)
    text = base.mark_text(fontSize=10).encode(text="shown:N", color=ink)
    wide = max(48 * cells["x"].nunique(), 120)
    return alt.layer(rect, text).properties(
        width=wide, height=max(20 * cells["y"].nunique(), 60), title=alt.TitleParams(
            title, fontSize=12, fontWeight="normal", anchor="middle"),
    )  # fmt: skip


def _about(frames: Frames, value: str) -> str:
    return f"dev {value}" if value in frames.scores["metric"].unique() else value


def tradeoff(source: Source | Frames, setting: str = "A") -> Any:
    """Score against training time, with the Pareto front: nothing is both faster and better.

    Times compare on one device only, so methods of another than most are left out.
    """
    c = Comparison(source, setting)
    devices = {method: frozenset(c.of(method)["device"]) for method in c.trained}
    device = Counter(devices.values()).most_common(1)[0][0] if devices else frozenset()
    shown = [method for method in c.trained if devices[method] == device]
    runs = c.frames.runs[c.frames.runs["method"].isin(shown)].astype({"method": str})
    grouped = runs.groupby("method")[["minutes", "score"]]
    means = grouped.mean().join(grouped.std().add_suffix("_sd")).reindex(shown).reset_index()
    means = means.rename(columns={"method": "series"}).assign(n=runs.groupby("method").size()
                                                              .reindex(shown).to_list())  # fmt: skip
    for name in ("minutes", "score"):
        means[f"{name}_text"] = [write(name, m, s) for m, s in
                                 zip(means[name], means[f"{name}_sd"], strict=True)]  # fmt: skip
        means[f"{name}_low"] = means[name] - means[f"{name}_sd"].fillna(0)
        means[f"{name}_high"] = means[name] + means[f"{name}_sd"].fillna(0)
    means["minutes_low"] = means["minutes_low"].clip(means["minutes"] / 10)
    log = bool((means["minutes"] > 0).all())
    x = alt.X("minutes:Q", title="minutes per epoch" + (" (log scale)" if log else ""),
              axis=alt.Axis(tickCount=6), scale=alt.Scale(type="log" if log else "linear", zero=False,
                                                          padding=12))  # fmt: skip
    y = alt.Y("score:Q", title="dev score", scale=alt.Scale(zero=False, padding=12))
    marks = _marks(looks(c.frames), shown, "method")
    tips = _tips(series="method", score_text="score", minutes_text="minutes per epoch", n="n")
    base = _chart(means).encode(tooltip=tips, color=marks["color"])
    front = means.loc[pareto(means["minutes"], means["score"])]
    layers = [
        _chart(front).mark_line(interpolate="step-after", strokeDash=[5, 3], color=GREY)
        .encode(x=x, y=y),
        base.mark_rule(opacity=0.6).encode(x=x, y="score_low:Q", y2="score_high:Q"),
        base.mark_rule(opacity=0.6).encode(x="minutes_low:Q", x2="minutes_high:Q", y=y),
        _chart(runs.rename(columns={"method": "series"})[["series", "minutes", "score"]])
        .mark_point(size=10, filled=True, opacity=0.45).encode(x=x, y=y, color=marks["color"]),
        base.mark_point(size=90, filled=True, opacity=1).encode(x=x, y=y, **marks),
    ]  # fmt: skip
    note = "dashed: nothing is both faster and better"
    if elsewhere := len(c.trained) - len(shown):
        note += f"; {elsewhere} methods that ran on another device are left out"
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT * 1.2)
    return _finished(chart, c.frames, "Score against training time", note)


def pareto(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """The places that nothing beats in both, cheapest first; of equals the first one."""
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i])):
        if not front or gains[place] > gains[front[-1]]:
            front.append(place)
    return front


def progress(source: Source | Frames, setting: str = "A", by: str = "epoch") -> Any:
    """Score after each epoch that was scored, against the epoch or the ``examples`` seen."""
    c = Comparison(source, setting)
    scored = c.frames.epochs.dropna(subset="epoch_score").drop_duplicates(["run", "epoch"])
    # Where one method's seeds saw different numbers of examples, they meet at the mean.
    at = scored.groupby(["method", "epoch"], observed=True)["examples_so_far"].transform("mean")
    points = pd.DataFrame({
        "panel": SCORE, "series": scored["method"].astype(str),
        "x": (scored["epoch"] if by == "epoch" else at).astype(float), "y": scored["epoch_score"],
    })  # fmt: skip
    title = "epoch" if by == "epoch" else "training examples seen, repeats included (log scale)"
    panels = {SCORE: ("dev score", "score")}
    chart = _lines(points, looks(c.frames), panels, title, "method", log=by != "epoch")
    samples = c.frames.runs["dev_sample"].dropna()
    note = "" if samples.empty else f"on at most {samples.iloc[0]:,} examples of each dev set"
    return _finished(chart, c.frames, f"Score over {'epochs' if by == 'epoch' else by}", note)


def effect(source: Source | Frames, setting: str = "A", of: str = "λ") -> Any | None:
    """What λ or B does: methods that differ in nothing else are joined; None without two of them."""
    c = Comparison(source, setting)
    metrics = c.frames.scores.groupby("task", observed=True)["metric"].first()
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
    points = pd.DataFrame([
        (what, name, x, y)
        for name, found in curves.items() for x, method in found.items()
        for what in (SCORE, *c.tasks) for y in c.values[what][method].dropna()
    ], columns=["panel", "series", "x", "y"])  # fmt: skip
    styles = {name: looks(c.frames)[next(iter(found.values()))] for name, found in curves.items()}
    panels = {SCORE: ("dev score", "score")}
    panels |= {task: (f"{task}: {metrics[task]}", "value") for task in c.tasks}
    x_title = "λ" if of == "λ" else "B (log scale)"
    chart = _lines(points, styles, panels, x_title, "method", log=of == "B")
    return _finished(chart, c.frames, f"The effect of {of}")


def conflicts(source: Source | Frames, setting: str = "A") -> Any | None:
    """How often each pair of tasks' gradients point against each other, method by method."""
    c = Comparison(source, setting)
    found = summaries.pairs(c.frames)
    if found.empty:
        return None
    cells = found.groupby(["method", "pair"], observed=True)[["conflicting", "cosine"]].mean()
    cells = cells.reset_index().rename(columns={"method": "y", "pair": "x"})
    cells = cells.astype({"x": str, "y": str}).assign(value=cells["conflicting"])
    cells["more"] = [f"mean cosine {write('cosine', cosine)}" for cosine in cells["cosine"]]
    chart = _heat(cells[["x", "y", "value", "more"]], "", "steps in conflict", "conflicting",
                  "oranges", (0, 1))  # fmt: skip
    note = "negative cosine; unrelated gradients: about half of the steps"
    return _finished(chart, c.frames, "Conflicts between tasks", note)


def conflicts_over_epochs(source: Source | Frames) -> Any | None:
    """Mean cosine and share of steps in conflict of each pair, epoch by epoch, over all runs given."""
    frames = read(source)
    found = summaries.pairs(frames, "epoch")
    if found.empty:
        return None
    long = found.rename(columns={"pair": "series", "epoch": "x"}).astype(
        {"series": str, "x": float}
    )
    points = long.melt(["series", "x"], ["cosine", "conflicting"], "panel", "y")
    panels = {"cosine": ("mean cosine", "cosine"),
              "conflicting": ("steps in conflict", "conflicting")}  # fmt: skip
    styles = _series_looks(list(found["pair"].cat.categories))
    chart = _lines(points, styles, panels, "epoch", "tasks")
    note = "unrelated gradients are in conflict in about half of the steps"
    return _finished(chart, frames, "Conflicts over the epochs", note)


def update_parts(source: Source | Frames) -> Any | None:
    """Each task in the update, epoch by epoch, over all runs given."""
    frames = read(source)
    found = summaries.influences(frames, "epoch")
    if found.empty:
        return None
    panels = {
        "norm": ("length of the gradient", "norm"), "share": ("part of the update", "share"),
        "before": ("cosine with the plain sum", "before"), "after": ("cosine with the update", "after"),
    }  # fmt: skip
    long = found.rename(columns={"task": "series", "epoch": "x"}).astype(
        {"series": str, "x": float}
    )
    points = long.melt(["series", "x"], list(panels), "panel", "y")
    styles = _series_looks(list(found["task"].cat.categories))
    chart = _lines(points, styles, panels, "epoch", "task")
    return _finished(chart, frames, "Each task in the update", "parts of a step add up to 100 %")


def layers(source: Source | Frames) -> Any | None:
    """Parts of the encoder against pairs of tasks: mean cosine and steps in conflict."""
    frames = read(source)
    found = summaries.pairs(frames, "part")
    if found.empty:
        return None
    cells = found.groupby(["part", "pair"], observed=True)[["cosine", "conflicting"]].mean()
    cells = cells.reset_index().rename(columns={"part": "y", "pair": "x"})
    cells = cells.astype({"x": str, "y": str})
    end = max(0.05, float(cells["cosine"].abs().max()))  # weaker cosines are near nothing
    charts = [
        _heat(cells.assign(value=cells[name]), "", title, name, scheme, ends)
        for name, title, scheme, ends in (
            ("cosine", "mean cosine", "redblue", (-end, end)),
            ("conflicting", "steps in conflict", "oranges", (0.0, 1.0)),
        )
    ]
    chart = alt.hconcat(*charts).resolve_scale(color="independent")
    return _finished(chart, frames, "Conflicts by part of the encoder")


def curves(source: Source | Frames) -> Any | None:
    """Training loss and dev metric of each task, epoch by epoch, over all runs given."""
    frames = read(source)
    found = frames.epochs
    if found.empty:
        return None
    tasks = list(found["task"].cat.categories)
    long = found.rename(columns={"task": "series", "epoch": "x"}).astype(
        {"series": str, "x": float}
    )
    each = long[["series", "x", "loss", "value"]]
    mean = long.drop_duplicates(["run", "x"]).assign(series=SCORE, value=lambda f: f["epoch_score"])
    each = pd.concat([each, mean[["series", "x", "value"]]])
    points = each.melt(["series", "x"], ["loss", "value"], "panel", "y")
    panels = {"loss": ("training loss", "loss"), "value": ("dev metric", "value")}
    styles = {**_series_looks(tasks), SCORE: (GREY, "stroke")}
    chart = _lines(points, styles, panels, "epoch", "task").resolve_scale(y="independent")
    samples = frames.runs["dev_sample"].dropna()
    note = "" if samples.empty else f"scored on at most {samples.iloc[0]:,} dev examples of a task"
    return _finished(chart, frames, "Losses and dev metrics", note)


def answers(source: Source | Frames, run: str, task: str) -> Any:
    """A run's answers to a dev set: a confusion matrix, or true against predicted values.

    Raises:
        UnusableError: its predictions are missing or damaged, or of a kind not known here.
    """
    frames = read(source)
    row = frames.scores[(frames.scores["run"] == run) & (frames.scores["task"] == task)].iloc[0]
    found = frames.answers(run, task)
    own = frames.only(frames.runs[frames.runs["run"] == run])
    if row["classes"] is not None:
        chart = _confusion(found, row["classes"], row["labels"] or {})
        return _finished(chart, own, f"{task}: right and wrong answers of {run}")
    if row["scale"] is not None:
        chart = _scatter(found, row["scale"])
        return _finished(chart, own, f"{task}: true and predicted values of {run}")
    raise UnusableError(f"{task}: its answers are neither classes nor numbers on a scale")


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
    return shares.set_axis(names).set_axis(names, axis=1)


def _confusion(found: pd.DataFrame, names: Sequence[str], labels: Mapping[str, int]) -> Any:
    """The paper's Figures 2 and 3: each true class is a row that adds up to 1; training labels."""
    shares = confusion(found, names)
    cells = shares.rename_axis("y").reset_index().melt("y", var_name="x")
    cells = cells.iloc[np.argsort(cells["y"].map(list(names).index), kind="stable")]
    left = _heat(cells, "predicted", "share of the true class", "share", "blues", (0, 1))
    counts = pd.DataFrame({"y": list(names), "n": [labels.get(name, 0) for name in names]})
    counts["shown"] = [write("examples", n) for n in counts["n"]]
    y = alt.Y("y:N", sort=None, title=None, axis=alt.Axis(grid=False))
    limit = alt.Scale(domain=[0, 1.25 * max(1, int(counts["n"].max()))])
    base = _chart(counts).encode(
        y=y, x=alt.X("n:Q", title="examples", scale=limit, axis=alt.Axis(tickCount=4)),
        tooltip=_tips(y="class", shown="training labels"),
    )  # fmt: skip
    text = base.mark_text(align="left", dx=4, fontSize=10, color=GREY).encode(text="shown:N")
    right = alt.layer(base.mark_bar(color=SERIES[0]), text)
    title = alt.TitleParams("training labels", fontSize=12, fontWeight="normal", anchor="middle")
    size = {"width": 200, "height": max(20 * len(names), 60)}
    return alt.hconcat(left, right.properties(title=title, **size))


def distance_groups(distances: pd.Series) -> dict[str, int]:
    """Examples by how far the prediction lies from the label."""
    between = [f"{a:g} < d ≤ {b:g}" for a, b in pairwise(LIMITS)]
    names = [f"d ≤ {LIMITS[0]:g}", *between, f"d > {LIMITS[-1]:g}"]
    return dict(pd.cut(distances, [-1, *LIMITS, np.inf], labels=names).value_counts(sort=False))


def _scatter(found: pd.DataFrame, scale: tuple[float, float]) -> Any:
    """The paper's Figure 4: true against predicted values, and how far they lie apart."""
    low, high = scale
    labels, predictions = found["label"].to_numpy(), found["prediction"].to_numpy()
    r = write("value", whole("pearson", labels, predictions[None])[0])
    x = alt.X("label:Q", title="true", scale=alt.Scale(domain=[low, high], nice=True))
    y = alt.Y("prediction:Q", title="predicted", scale=alt.Scale(zero=False))
    ends = pd.DataFrame({"label": [low, high], "prediction": [low, high]})
    shown = found[["id", "label", "prediction"]].assign(
        true=[write("label", v) for v in labels],
        predicted=[write("value", v) for v in predictions],
    )  # fmt: skip
    if len(shown) > _MANY:
        shown = shown.sample(_MANY, random_state=0)
    dots = _chart(shown).mark_point(size=12, filled=True, opacity=0.4, color=SERIES[0])
    dots = dots.encode(x=x, y=y, tooltip=_tips(id="id", true="true", predicted="predicted"))
    line = _chart(ends).mark_line(strokeDash=[4, 3], color=GREY).encode(x=x, y=y)
    of = f"Pearson r = {r}, N = {write('n', len(found))}"
    of += f" ({_MANY:,} drawn)" if len(shown) < len(found) else ""
    title = {"fontSize": 12, "fontWeight": "normal", "anchor": "middle"}
    left = alt.layer(line, dots).properties(
        width=240, height=240, title=alt.TitleParams(of, **title)
    )
    groups = distance_groups((found["prediction"] - found["label"]).abs())
    bars = pd.DataFrame({"d": list(groups), "n": [int(n) for n in groups.values()]})
    bars["shown"] = [write("examples", n) for n in bars["n"]]
    base = _chart(bars).encode(
        x=alt.X("d:N", sort=None, title="distance d = |predicted − true|",
                axis=alt.Axis(labelAngle=-30, grid=False)),
        y=alt.Y("n:Q", title="examples"), tooltip=_tips(d="distance", shown="examples"),
    )  # fmt: skip
    right = alt.layer(base.mark_bar(color=SERIES[0]),
                      base.mark_text(dy=-7, color=GREY, fontSize=10).encode(text="shown:N"))  # fmt: skip
    return alt.hconcat(left, right.properties(width=200, height=240))


def imbalance(source: Source | Frames) -> Any | None:
    """Score and worst task against the ratio of sizes, of settings that differ in it alone."""
    frames = read(source)
    found = summaries.imbalance(frames)
    if found.empty:
        return None
    found = found[found["series"] == found["series"].iloc[0]]
    own = frames.only(frames.runs[frames.runs["setting"].isin(found["setting"])])
    metrics = own.scores.groupby("task", observed=True)["metric"].first()
    points = found.drop(columns="series").rename(
        columns={"what": "panel", "method": "series", "ratio": "x", "value": "y"}
    )
    panels = {SCORE: ("dev score", "score"), summaries.WORST: ("worst task, 0 to 1", "worst")}
    panels |= {task: (f"{task}: {metrics[task]}", "value") for task in metrics.index}
    known = looks(frames)
    styles = {}
    for place, name in enumerate(points["series"].unique()):
        like = [m for m in known if m.startswith(name.removesuffix(", B given"))]
        styles[name] = known[like[0]] if like else (OTHER, SHAPES[place % len(SHAPES)])
    title = "largest training set : each other (log scale)"
    chart = _lines(points, styles, panels, title, "method", log=True)
    return _finished(chart, own, "Scores against the imbalance of sizes")


def usage(source: Source | Frames, setting: str = "A") -> Any | None:
    """The share of each training set that every method saw over all epochs."""
    c = Comparison(source, setting)
    found = summaries.usage(c.frames)
    if found.empty:
        return None
    cells = found.rename(columns={"method": "y", "task": "x"}).astype({"x": str, "y": str})
    cells["value"] = cells["fraction"]
    cells["more"] = [
        f"{write('effective_epochs', e)} effective epochs, {write('examples', n)} examples"
        for e, n in zip(cells["effective_epochs"], cells["examples"], strict=True)
    ]
    chart = _heat(cells[["x", "y", "value", "more"]], "", "of the training set", "fraction", "greens",
                  (0, 1))  # fmt: skip
    return _finished(chart, c.frames, "Data seen at least once")


def forest(differences: pd.DataFrame, label: str = "method", margin: float = MARGIN) -> Any:
    """Differences with both 95 % intervals, and the margin of equivalence.

    Args:
        differences: the frame ``leaderboard``, ``differences``, or a claim's evidence.
        label: the column that names a row.
        margin: within which methods count as equivalent.
    """
    names = ("difference", "low", "high", "examples_low", "examples_high", "verdict")
    rows = differences.dropna(subset="difference")[[label, *names]].rename(columns={label: "y"})
    rows = rows.astype({"y": str})
    rows["shown"] = [write("difference", d) for d in rows["difference"]]
    rows["seeds"] = [f"{write('low', a)} to {write('high', b)}"
                     for a, b in zip(rows["low"], rows["high"], strict=True)]  # fmt: skip
    rows["examples"] = [f"{write('low', a)} to {write('high', b)}" for a, b in
                        zip(rows["examples_low"], rows["examples_high"], strict=True)]  # fmt: skip
    verdicts = ["significantly higher", "significantly lower", "equivalent", "not significant"]
    rows["kind"] = [v if v in verdicts else "nothing can be said" for v in rows["verdict"]]
    colour = alt.Color(
        "kind:N", title=None,
        scale=alt.Scale(domain=[*verdicts, "nothing can be said"],
                        range=[SERIES[2], SERIES[4], SERIES[0], GREY, "#bbbbbb"]),
        legend=alt.Legend(orient="bottom", columns=3),
    )  # fmt: skip
    y = alt.Y("y:N", sort=None, title=None, axis=alt.Axis(grid=False))
    title = "difference; thin: 95 % over seeds, thick: 95 % over dev examples"
    tips = _tips(y=" ", shown="difference", seeds="over seeds", examples="over dev examples",
                 verdict="verdict")  # fmt: skip
    base = _chart(rows).encode(y=y, color=colour, tooltip=tips)
    band = pd.DataFrame({"a": [-margin], "b": [margin]})
    chart = alt.layer(
        _chart(band).mark_rect(opacity=0.15, color=GREY).encode(x=alt.X("a:Q", title=title), x2="b:Q"),
        _chart(pd.DataFrame({"a": [0]})).mark_rule(color=GREY).encode(x="a:Q"),
        base.mark_rule(strokeWidth=1.2).encode(x="low:Q", x2="high:Q"),
        base.mark_rule(strokeWidth=4, opacity=0.55).encode(x="examples_low:Q", x2="examples_high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x="difference:Q"),
    ).properties(width=WIDTH, height=max(22 * len(rows), 60))  # fmt: skip
    return chart.configure_axis(labelLimit=320).configure_view(strokeOpacity=0)
