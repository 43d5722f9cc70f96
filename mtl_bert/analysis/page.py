"""The whole report, put together from frames: for each setting the answer first, then all else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
from altair.utils.schemapi import debug_mode

from mtl_bert.analysis import claims, figures, summaries
from mtl_bert.analysis.blocks import (
    BAD,
    GOOD,
    QUIET,
    Article,
    Badge,
    Block,
    Cell,
    Chart,
    Page,
    Row,
    Section,
    Table,
    Text,
    bar,
    dots,
    own,
    table,
)
from mtl_bert.analysis.columns import Column, column, write
from mtl_bert.analysis.frames import LEFT_OUT, Frames, UnusableError, file_name
from mtl_bert.analysis.leaderboard import EQUIVALENT, HIGHER, LOWER, MARGIN, SCORE, Comparison
from mtl_bert.analysis.methods import setting_words
from mtl_bert.analysis.run_view import CAUSES, KINDS, views
from mtl_bert.runs.results import RunFolder

MISTAKES, WORST = 200, 5  # wrong answers of a task that are listed: of a chosen run, of any other
SUPERSEDED = "left out: a newer run has the same method and seed"
TONES = {HIGHER: GOOD, LOWER: BAD, EQUIVALENT: "", claims.SUPPORTED: GOOD, claims.CONTRADICTED: BAD}
RULE = (
    "Significant: both 95 % intervals exclude 0 on the same side, that over seeds (paired t test, "
    "adjusted by Holm for what was named beforehand) and that over dev examples (paired "
    "bootstrap). Equivalent: both lie within the margin (two one-sided tests). With one common "
    "seed nothing is said."
)
CHANCE = (
    "A step is in conflict for a pair where the cosine is negative; for gradients that have "
    "nothing to do with each other that is so in about half of the steps."
)
MANY = figures.FEW  # columns of tasks or pairs that a table can show


@dataclass(frozen=True)
class Study:
    """A setting while its article is written.

    Attributes:
        compared: its methods.
        frames: of all its runs, also of those that are not compared.
        numbers: run -> place of its view; empty where there are no views.
        baseline: the name of the method that others are held against, if it is chosen.
        chosen: runs whose answers are shown.
    """

    compared: Comparison
    frames: Frames
    numbers: Mapping[str, int]
    baseline: str | None
    chosen: Sequence[str]

    def article(self) -> Article:
        """All that is said of the setting."""
        about, c = self.compared.about, self.compared
        one = c.frames.runs.iloc[0]
        board = c.leaderboard(c.baseline(self.baseline))
        parts: dict[str, tuple[str, Iterable[Block | None]]] = {
            "paper": ("The paper's tables", self.paper()),
            "tasks": ("Each task", self.tasks(board)),
            "pairs": ("Every pair of methods", self.pairs()),
            "conflicts": ("Gradient conflicts", self.conflicts()),
            "use": ("How much of the data is used", self.use()),
            "course": ("What scores cost, and how they come about", self.course()),
            "answers": ("Answers and mistakes", self.answers()),
            "provenance": ("Provenance", [*self.provenance(), self.runs()]),
        }
        found = {
            name: (title, tuple(block for block in blocks if block is not None))
            for name, (title, blocks) in parts.items()
        }
        trade = self.chart("tradeoff", figures.tradeoff)
        trade = trade and replace(trade, spec=narrow(trade.spec))
        return Article(
            anchor=about["slug"],
            short=f"{about['setting']}: {about['title']}",
            title=self.title,
            badges=tuple(Badge(CAUSES[word], why) for word, why in about["badges"]),
            lead=f"data {one['data']}, encoder {one['encoder']}, epochs: {c.epochs}. "
                 f"{about['caution']}".strip(),
            answer=c.recommend(),
            first=tuple(filter(None, [self.leaderboard(board), trade if c.trained else None])),
            sections=tuple(Section(self.name(name), title, blocks)
                           for name, (title, blocks) in found.items() if blocks),
        )  # fmt: skip

    def name(self, what: str) -> str:
        """A name for a file or an anchor."""
        return f"{self.compared.about['slug']}-{file_name(what)}"

    @property
    def title(self) -> str:
        """What was compared on which data, in a sentence."""
        names, methods = list(self.compared.tasks), self.compared.methods
        tasks = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
        tasks = f"{len(names)} tasks" if len(names) > 6 else tasks
        runs = self.compared.frames.runs
        seeds = sorted(set(runs.groupby("method", observed=True).size()))
        each = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seeds"
        what = f"{len(methods)} methods compared" if len(methods) > 1 else methods[0]
        return f"{what} on {tasks} of {runs['data'].iloc[0]}, {'1 seed' if seeds == [1] else each}"

    def chart(
        self, name: str, draw: Callable[..., Any], caption: str = "", **how: Any
    ) -> Chart | None:
        """A chart of the setting; None where there is nothing to draw."""
        made = draw(self.compared, **how)
        return made and Chart(self.name(name), caption, made.to_dict(validate=False))

    def leaderboard(self, frame: pd.DataFrame) -> Table:
        """Every method, its score and price, and where it stands to the baseline."""
        rows, scores = frame.to_dict("records"), self.compared.frames.runs["score"]
        ends = float(scores.min()), float(scores.max())
        shown = [
            Cell(write("score", row["score"], row["score_sd"]), row["score"],
                 plots=dots(self.compared.of(row["method"])["score"].to_list(), *ends))
            for row in rows
        ]  # fmt: skip
        minutes = [Cell(write("minutes", row["minutes"]), tip="\n".join(
            f"{column(name).title}: {write(name, row[name])}"
            for name in ("minutes_sd", "time_ratio", "device"))) for row in rows]  # fmt: skip
        against = own("against", f"against {frame['baseline'].iloc[0]}", RULE, "+.3f")
        return table(
            self.name("leaderboard"), "Leaderboard", frame.drop(columns="setting"),
            ["method", column("score", title="score ± sd"), "seeds", "worst_task",
             column("minutes", title="min/epoch"), against],
            given={"score": shown, "against": [versus(row) for row in rows], "minutes": minutes},
            tips={"worst_task": ["worst"]}, board=self.compared.about["setting"],
            caption=f"Best of {self.compared.epochs} epochs on the dev sets. {RULE} "
                    f"Margin: {self.compared.margin:g}.",
        )  # fmt: skip

    def board(self) -> dict[str, Any]:
        """The leaderboard's last column against every baseline, for scripts."""
        c, found = self.compared, []
        for base in c.methods:
            judged = c.table((c.difference(m, base) for m in c.methods if m != base), named=True)
            rows = {row["method"]: row for row in judged.to_dict("records")}
            found.append([versus(rows.get(m, {"verdict": "baseline"})).packed() for m in c.methods])
        first = c.methods.index(c.baseline(self.baseline))
        return {"column": 5, "methods": c.methods, "cells": found, "baseline": first}

    def tasks(self, frame: pd.DataFrame) -> list[Block | None]:
        """Each task's metric by method, and the change to models of one task each."""
        c = self.compared
        metrics = c.frames.scores.groupby("task", observed=True)["metric"].first()
        shown = [column(f"{t}.value", title=f"{t}, {metrics[t]}") for t in c.tasks]
        caption = "Mean ± standard deviation over seeds."
        if alone := bool(frame["delta_m"].notna().any()):
            caption += (
                " Δm: mean change of the metrics to models of one task each (sampler=single)."
            )
        columns: list[str | Column] = ["method", "score", *shown, *(["delta_m"] if alone else [])]
        return [table(self.name("tasks"), "Metrics of each task", frame, columns, caption=caption)]

    def paper(self) -> Iterable[Block | None]:
        """The paper's tables beside ours, and its claims; nothing for others' tasks."""
        c = self.compared
        first = Comparison(self.frames, c.about["setting"], epochs=1, margin=c.margin)
        if not claims.is_the_papers(c, first):
            return
        yield from self.claims()
        for number, title in ((2, "baselines for PCGrad"), (3, "paraphrase after one epoch"),
                              (4, "ARRP after all epochs")):  # fmt: skip
            yield from self.printed(
                claims.table(first if number == 3 else c, number), number, title
            )
        sizes = claims.sizes(c)
        titles = {"train": "training set", "dev": "dev set", "fraction": "used by an RR epoch"}
        shown = [replace(column(n), name=f"{n}{p}", title=f"{t}{', paper' if p else ''}")
                 for n, t in titles.items() for p in ("", ".printed")]  # fmt: skip
        yield table(self.name("table1"), "Table 1: data sets", sizes, ["task", *shown])

    def claims(self) -> Iterable[Block]:
        """The paper's claims, each with its verdict and a bar for each difference it rests on."""
        found, evidence = claims.claims(self.compared)
        rows = evidence.to_dict("records")
        ends = evidence[["low", "high"]].abs().to_numpy().ravel()
        reach = min(0.3, float(pd.Series(ends).max())) if len(rows) else 0.0
        margin = self.compared.margin
        bars = {
            n: Cell("", plots=tuple(p for row in rows if row["claim"] == n
                                    for p in bar(row, reach, margin, row["contrast"])))
            for n in found["claim"]
        }  # fmt: skip
        text = [Cell(f"{row['claim']}. {row['text']}",
                     tip=f"The paper: {row['printed']}\nRule: {row['rule']}")
                for row in found.to_dict("records")]  # fmt: skip
        verdicts = [Cell(v, strong=True, tone=TONES.get(v.partition(" (")[0], QUIET))
                    for v in found["verdict"]]  # fmt: skip
        yield table(
            self.name("claims"), "The paper's claims", found,
            [own("text", "claim", ""), own("verdict", "verdict", ""),
             own("bars", "evidence", "differences with 95 % intervals over seeds"),
             own("note", "times", "")],
            given={"text": text, "verdict": verdicts, "bars": list(bars.values())},
            caption="Evidence: a bar for each difference that the claim names, with its 95 % "
                    f"interval over seeds; grey: the margin of {margin:g} around 0. The "
                    "differences of one claim are a family for Holm's adjustment.",
        )  # fmt: skip
        contrasts = [Cell(row["contrast"]) for row in rows]
        drawn = [Cell(write("difference", row["difference"]), row["difference"],
                      plots=bar(row, reach, margin))
                 for row in rows]  # fmt: skip
        yield table(
            self.name("evidence"), "What the claims rest on", evidence,
            [own("claim", "claim", "", "g"), own("contrast", "difference of", ""), "difference",
             "verdict", "p_holm", "seeds"],
            given={"contrast": contrasts, "difference": drawn}, folded=True,
            tips={"verdict": ["low", "high", "examples_low", "examples_high"]},
        )  # fmt: skip

    def printed(self, frame: pd.DataFrame, number: int, title: str) -> Iterable[Block]:
        """A table of the paper beside ours, and commands for the rows that are missing."""
        whats = [c.removesuffix(".printed") for c in map(str, frame) if c.endswith(".printed")]
        whats = [what for what in whats if not what.startswith("minutes")]
        notes = list(dict.fromkeys(note for row in frame["notes"] for note in row))
        rows = frame.astype({"method": object}).where(frame.notna(), None).to_dict("records")
        times = ("papers_ratio", "minutes_ratio.printed", "time_ratio")
        times = ("minutes", "minutes.printed", "minutes") if number == 3 else times
        given = {
            "row": [Cell(row["row"] + "".join(f" [{notes.index(n) + 1}]" for n in row["notes"]),
                         tip=f"ours: {row['method'] or 'not run'}, n={row['seeds']}",
                         tone="" if row["method"] else QUIET) for row in rows],
            "time": [beside(row, *times) for row in rows],
        }  # fmt: skip
        given |= {what: [beside(row, what, f"{what}.printed", "value") for row in rows]
                  for what in whats}  # fmt: skip
        yield table(
            self.name(f"table{number}"), f"Table {number}: {title}", frame.drop(columns="notes"),
            [own("row", "method", ""),
             *(own(what, f"{what}: ours | paper", "", ".3f") for what in whats),
             own("time", "min beyond RR: ours | paper", "", ".2f") if number == 3 else
             own("time", "time ÷ RR: ours | paper", "ours at the paper's sizes", ".2f")],
            given=given, notes=tuple(notes),
            caption="Ours: mean ± standard deviation over seeds. Times compare as ratios to "
                    "round-robin's on one device; ours are at the paper's sizes, by seconds per "
                    "example.",
        )  # fmt: skip
        if missing := [(row["row"], row["command"]) for row in rows if not row["method"]]:
            yield Text("Rows that nobody has run, and the command that makes each (DIR: where your "
                       "files lie):", commands=tuple(missing))  # fmt: skip

    def pairs(self) -> Iterable[Block]:
        """Every pair of methods, in the score and in each task."""
        c = self.compared
        if len(c.methods) < 2:
            return
        whats = (SCORE, *(c.tasks if len(c.methods) * len(c.tasks) < 20 * MANY else ()))
        pairs = [(a, b) for n, a in enumerate(c.methods) for b in c.methods[n + 1 :]]
        frame = c.table(
            (c.difference(*pair, what) for what in whats for pair in pairs), named=False
        )
        shown = table(
            self.name("differences"), "First minus second, in the score", frame.head(len(pairs)),
            ["method", "minus", "difference", "verdict", "p", "seeds"], folded=True,
            tips={"difference": ["low", "high", "examples_low", "examples_high"]},
            caption="Exploratory: no correction for their number, so some are significant by "
                    "chance alone. The CSV file has the tasks', too.",
        )  # fmt: skip
        yield replace(shown, frame=frame)
        if c.excluded:
            yield Text("Without an interval over dev examples:", tuple(dict.fromkeys(c.excluded)))

    def conflicts(self) -> Iterable[Block | None]:
        """What the gradients did to each other in joint steps, by method."""
        frames, by = self.compared.frames, ["method"]
        steps = summaries.joint_steps(frames).groupby(by, observed=True)
        if not len(steps):
            return
        values = ["conflicting", "removed"]
        found = steps[values].mean().join(steps[values].std().add_suffix("_sd"))
        wide = [found.assign(seeds=steps.size())]
        for frame, key, value in ((summaries.pairs(frames), "pair", "cosine"),
                                  (summaries.influences(frames), "task", "share")):  # fmt: skip
            mean = frame.groupby([*by, key], observed=True)[value].mean().unstack()
            wide.append(mean.add_suffix(f".{value}"))
        whole = pd.concat(wide, axis=1).reset_index()
        titles = {".cosine": "cosine ", ".share": "part of "}
        more = [column(name, title=titles[end] + name.removesuffix(end))
                for name in map(str, whole) for end in titles if name.endswith(end)]  # fmt: skip
        yield table(
            self.name("conflicts"), "Joint steps", whole,
            ["method", *values, *(more if len(more) <= MANY else []), "seeds"],
            caption="Means over the seeds that recorded joint steps. In conflict: some pair's "
                    "gradients have a negative cosine. Removed: by how much the update is shorter "
                    f"than the plain sum of the gradients; part: of the update. {CHANCE}",
        )  # fmt: skip
        if len(more) <= MANY:
            yield self.chart("conflicts-chart", figures.conflicts)

    def use(self) -> Iterable[Block | None]:
        """What each method used of each task's data, over all epochs."""
        found = summaries.usage(self.compared.frames)
        if found.empty:
            return
        if len(self.compared.tasks) <= MANY:
            yield self.chart("use-chart", figures.usage)
        yield table(
            self.name("use"), "Examples over all epochs", found,
            ["method", "task", "examples", "unique", "fraction", "repeats", "effective_epochs"],
            folded=True,
            caption="Means over seeds. Repeats are examples beyond the different ones; effective "
                    "epochs are examples by the size of the training set.",
        )  # fmt: skip

    def course(self) -> Iterable[Block | None]:
        """Scores over epochs and examples, what λ and B do, and what phases cost."""
        c = self.compared
        if not c.trained:
            return
        if c.epochs > 1:
            yield self.chart("progress", figures.progress)
            yield self.chart("progress-examples", figures.progress, by="examples")
        yield self.chart("lambda", figures.effect, of="λ")
        yield self.chart("B", figures.effect, of="B")
        costs = summaries.costs(c.frames)
        if not costs.empty:
            form = own("seconds_per_1000", "seconds per 1,000 examples", "", ",.1f", "s")
            yield table(
                self.name("costs"), "What an epoch's phases cost", costs,
                ["method", "phase", "examples", "seconds", form, "seeds"], folded=True,
                caption="Means over the seeds that have the phase.",
            )  # fmt: skip

    def answers(self) -> Iterable[Block]:
        """The answers of the chosen runs: charts and wrong ones."""
        names = [str(run) for run in self.frames.runs["run"] if str(run) in self.chosen]
        for number, name in enumerate(names):
            scores = self.frames.scores[self.frames.scores["run"] == name]
            for score in scores.head(MANY).to_dict("records"):
                stem = f"{score['task']}{f'-{number + 1}' if number else ''}"
                try:
                    chart = figures.answers(self.frames, name, score["task"])
                    rows = mistakes(self.frames, score, MISTAKES)
                    rows = rows if rows and rows[0]["text"] else rows[:WORST]
                except UnusableError as error:
                    yield Text(f"{score['task']}: the predictions of {name} are no use: {error}.")
                    continue
                yield Chart(self.name(f"{stem}-answers"), "", chart.to_dict(validate=False))
                shown = pd.DataFrame(rows)
                by = (
                    "largest errors" if score["classes"] is None else "most confident wrong answers"
                )
                texts = [name for name in ("text", "text2") if name in shown and shown[name].any()]
                columns: list[str | Column] = [*(texts or ["id"]), *KINDS["answers"][1][3:]]
                if rows:
                    yield table(self.name(f"{stem}-mistakes"), f"{score['task']}: {by}", shown,
                                columns, folded=True)  # fmt: skip

    def runs(self) -> Table:
        """Every run, also those that no other table shows; names lead to their views."""
        tasks = list(self.compared.tasks)
        values = self.frames.scores.pivot(index="run", columns="task", values="value")
        values = values[tasks].add_suffix(".value").reset_index()
        shown = self.frames.runs.merge(values, on="run").sort_values(
            ["method", "epochs", "seed"], kind="stable"
        )
        shown["remark"] = [SUPERSEDED if each else "" for each in shown["superseded"]]
        shown = shown.drop(columns=["overrides", "notes", "versions", "directory", "superseded"])
        links = [Cell(str(run), link=f"#run={self.numbers[run]}" if self.numbers else "")
                 for run in shown["run"]]  # fmt: skip
        metrics = [] if len(tasks) > MANY else [f"{task}.value" for task in tasks]
        return table(
            self.name("runs"), "All runs", shown,
            ["run", "method", "seed", "epochs", "best_epoch", *metrics, "score", "last_score",
             "minutes", "device", "commit", own("remark", "remark", "why no other table has it")],
            given={"run": links}, folded=True,
            caption="Scores are the best epoch's."
                    + (" A run's name leads to its own view." if self.numbers else ""),
        )  # fmt: skip

    def provenance(self) -> list[Block]:
        """What the runs have in common, and commits, devices, seeds, versions and notes."""
        runs, words = self.frames.runs, self.compared.about["words"]
        common = [f"{key}: {_pairs(value)}" for key, value in words.items() if key != "tasks"]
        versions = sorted({_pairs(each) for each in runs["versions"]})
        origin = [
            f"Commits: {_listed(commit or 'unknown' for commit in runs['commit'])}",
            f"Devices: {_listed(runs['device'])}",
            f"Seeds: {_listed(sorted(runs['seed'].unique()))}",
            f"Versions: {' | '.join(versions)}",
            f"Finished: {runs['finished'].min():%Y-%m-%d} to {runs['finished'].max():%Y-%m-%d}",
        ]
        notes = sorted({note for each in runs["notes"] for note in each})
        blocks: list[Block] = [
            Text("What all runs of this setting have in common:", tuple(common)),
            Text("Where they come from:", tuple(origin)),
        ]
        return [*blocks, Text("Notes of the runs:", tuple(notes))] if notes else blocks


def narrow(spec: dict[str, Any]) -> dict[str, Any]:
    """A chart with its legend below, to stand beside a table."""

    def moved(node: Any) -> Any:
        if isinstance(node, list):
            return [moved(each) for each in node]
        if not isinstance(node, dict):
            return node
        below = {"orient": "bottom", "columns": 2, "symbolLimit": 60, "labelLimit": 180}
        return {
            key: value if key == "values"
            else value | below if key == "legend" and isinstance(value, dict) else moved(value)
            for key, value in node.items()
        }  # fmt: skip

    narrowed: dict[str, Any] = moved(spec)
    return narrowed | {"width": 360, "height": 290, "title": spec["title"]}


def versus(row: Row) -> Cell:
    """A method against the baseline: the difference and the verdict, the rest on demand."""
    verdict = str(row["verdict"])
    if verdict == "baseline":
        return Cell("baseline", 0.0, tone=QUIET)
    told = {name: write(name, row[name]) for name in
            ("difference", "low", "high", "examples_low", "examples_high", "p_holm")}  # fmt: skip
    tip = (
        f"{verdict}\n95 % interval over seeds: {told['low']} to {told['high']}\n"
        f"over dev examples: {told['examples_low']} to {told['examples_high']}\n"
        f"p = {told['p_holm']}, adjusted by Holm"
    )
    short = "significant" if verdict in (HIGHER, LOWER) else verdict
    return Cell(f"{told['difference']} {short}", tip=tip, tone=TONES.get(verdict, QUIET))


def beside(row: Row, ours: str, printed: str, form: str) -> Cell:
    """Our number ± its deviation, and the paper's; their difference on demand."""
    a, b = row[ours], row[printed]
    text = f"{write(form, a, row.get(f'{ours}_sd'))} | {write(form, b)}"
    known = None not in (a, b) and not isnan(a - b)
    return Cell(text, tip=f"ours − paper: {write('difference', a - b)}" if known else "")


def mistakes(frames: Frames, score: Row, most: int) -> list[dict[Any, Any]]:
    """A run's wrong answers to a task, the worst first, with the classes' names.

    Of classes those with the highest confidence, of numbers those farthest off.

    Args:
        frames: with the run.
        score: the row of ``scores`` of the run and task.
        most: how many at most.

    Raises:
        UnusableError: its predictions are missing or damaged.
    """
    found, classes = frames.answers(score["run"], score["task"]), score["classes"]
    error = (found["prediction"] - found["label"]).abs()
    found = found.assign(sure=error if classes is None else found["confidence"])[error > 0]
    worst = found.sort_values("sure", ascending=False, kind="stable").head(most)

    def named(value: float) -> str:
        known = bool(classes) and value in range(len(classes))
        return str(classes[int(value)]) if known else write("value", value)

    texts = {"text": None, "text2": None} if (worst["text"] == LEFT_OUT).all() else {}
    rows: list[dict[Any, Any]] = worst.to_dict("records")
    return [
        row | texts
        | {"task": score["task"], "right": named(row["label"]), "told": named(row["prediction"])}
        for row in rows
    ]  # fmt: skip


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return setting_words(node)
    return ", ".join(f"{key}={setting_words(value)}" for key, value in node.items())


def _listed(words: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, words)))


def report(
    frames: Frames,
    baseline: str | None = None,
    margin: float = MARGIN,
    chosen: Sequence[str] = (),
    *,
    with_views: bool = True,
) -> Page:
    """The report of runs.

    Args:
        frames: of all of them.
        baseline: the method that others are held against.
        margin: within which methods count as equivalent.
        chosen: runs whose answers are shown; without any, the best one's of the first setting.
        with_views: whether each run has a view of its own, for scripts.
    """
    numbers = {str(run): n for n, run in enumerate(frames.runs["run"])} if with_views else {}
    if not chosen:
        first = frames.runs[frames.runs["setting"] == "A"]
        chosen = [str(first.sort_values("score", kind="stable")["run"].iloc[-1])]
    articles, boards = [], {}
    with debug_mode(False):  # checking each chart by its schema takes longer than all the rest
        for letter in frames.settings["setting"]:
            whole = frames.only(frames.runs[frames.runs["setting"] == letter])
            compared = Comparison(frames, letter, margin=margin)
            study = Study(compared, whole, numbers, baseline, chosen)
            articles.append(study.article())
            boards[letter] = study.board()
        articles += series(frames, margin)
    runs = list(views(frames, _worst(frames))) if with_views else []
    kinds = {kind: (title, [(c.title, bool(c.form)) for c in columns])
             for kind, (title, columns) in KINDS.items()}  # fmt: skip
    return Page(tuple(articles), frames.warnings, boards, runs, kinds)


def _worst(frames: Frames) -> dict[Any, list[Row]]:
    """Every run's worst answers, where readers may see the texts."""
    found: dict[Any, list[Row]] = {}
    places = dict(zip(frames.runs["run"], map(Path, frames.runs["directory"]), strict=True))
    for score in frames.scores.to_dict("records") if frames.texts else ():
        try:
            with RunFolder(places[score["run"]]).predictions(score["task"]).open("rb") as file:
                if LEFT_OUT.encode() in b"".join(islice(file, 2)):  # from an archive
                    continue
            found.setdefault(score["run"], []).extend(mistakes(frames, score, WORST))
        except (OSError, UnusableError):
            continue
    return found


def series(frames: Frames, margin: float) -> list[Article]:
    """Scores against the ratio of sizes, of settings that differ in it alone."""
    found, drawn = summaries.imbalance(frames), figures.imbalance(frames)
    if drawn is None:
        return []
    by = ["what", "method", "ratio"]
    groups = found.groupby(by, sort=False)["value"]
    means = (
        groups.mean().to_frame().assign(value_sd=groups.std(), seeds=groups.size()).reset_index()
    )
    blocks: list[Block] = [
        Chart("imbalance-chart", "", drawn.to_dict(validate=False)),
        Text("At the most unequal sizes:", tuple(summaries.imbalance_answers(frames, margin))),
        table("imbalance", "Scores at every ratio", means,
              ["what", "method", own("ratio", "ratio", "largest training set to each other", "g"),
               "value", "seeds"], folded=True),
    ]  # fmt: skip
    return [Article("imbalance", "Imbalance of sizes", "Scores against the imbalance of sizes", (),
                    "The largest training set to each other one, where nothing else differs.", "",
                    tuple(blocks), ())]  # fmt: skip
