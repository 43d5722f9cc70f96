"""The whole report, put together from frames: for each setting the answer first, then all else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from mtl_bert.analysis.blocks import (
    BAD, GOOD, QUIET, Article, Badge, Block, Cell, Chart, Page, Section, Table, Text, dots, own, table,
)  # fmt: skip
from mtl_bert.analysis.columns import column, write
from mtl_bert.analysis.frames import Frames, UnusableError
from mtl_bert.analysis.leaderboard import (
    EQUIVALENT, HIGHER, LOWER, MARGIN, SCORE, Comparison,
)  # fmt: skip
from mtl_bert.analysis.methods import setting_words
from mtl_bert.analysis.run_view import CAUSES, joint_steps, pairs_met, parts_taken, views

MISTAKES = 200  # wrong answers of a task that the page lists
SUPERSEDED = "left out: a newer run has the same method and seed"
TONES = {HIGHER: GOOD, LOWER: BAD, EQUIVALENT: "", "baseline": QUIET}
SHORT = {HIGHER: "significant", LOWER: "significant"}
RULE = (
    "Significant: both 95 % intervals exclude 0 on the same side, that over seeds (paired t test, "
    "adjusted by Holm) and that over dev examples (paired bootstrap). Equivalent: both lie within "
    "the margin (two one-sided tests). With one common seed nothing is said."
)
CHANCE = (
    "A step is in conflict for a pair where the cosine is negative; for gradients that have "
    "nothing to do with each other that is so in about half of the steps."
)


@dataclass(frozen=True)
class Study:
    """A setting while its article is written.

    Attributes:
        compared: its methods.
        frames: of all its runs, also of those that are not compared.
        numbers: run -> place of its view; empty where there are no views.
        baseline: the name of the method that others are held against, if it is chosen.
        chosen: runs whose answers are shown; without any, the best one's are.
    """

    compared: Comparison
    frames: Frames
    numbers: Mapping[str, int]
    baseline: str | None = None
    chosen: Sequence[str] = ()

    @property
    def about(self) -> pd.Series:
        """The setting's row."""
        return self.compared.about

    def name(self, what: str) -> str:
        """A name for a file or an anchor."""
        return f"{self.about['slug']}-{what}"

    def article(self) -> Article:
        """All that is said of the setting."""
        about = self.about
        parts = {
            "tasks": ("Each task", self.tasks()),
            "pairs": ("Every pair of methods", self.pairs()),
            "conflicts": ("Gradient conflicts", self.conflicts()),
            "use": ("How much of the data is used", self.use()),
            "answers": ("Wrong predictions", self.answers()),
            "provenance": ("Provenance", [*self.provenance(), self.runs()]),
        }
        return Article(
            anchor=about["slug"],
            short=f"{about['setting']}: {about['title']}",
            title=self.title,
            badges=tuple(Badge(CAUSES[word], why) for word, why in about["badges"]),
            lead=f"{about['about']}. {about['caution']}".strip(),
            answer=self.compared.recommend(),
            first=tuple(self.first()),
            sections=tuple(
                Section(self.name(anchor), title, tuple(blocks))
                for anchor, (title, blocks) in parts.items()
                if blocks
            ),
        )

    @property
    def title(self) -> str:
        """What was compared on which data, in a sentence."""
        about, runs = self.about, self.compared.frames.runs
        names, methods = list(about["tasks"]), self.compared.methods
        tasks = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
        if len(names) > 6:
            tasks = f"{len(names)} tasks"
        seeds = sorted(set(runs.groupby("method", observed=True).size()))
        each = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed"
        each += "s" if len(seeds) == 1 and seeds[0] > 1 else ""
        what = f"{len(methods)} methods compared" if len(methods) > 1 else methods[0]
        return f"{what} on {tasks} of {runs['data'].iloc[0]}, {each} each"

    def first(self) -> list[Block]:
        """The leaderboard and what scores cost."""
        compared = self.compared
        base = compared.baseline(self.baseline)
        frame = compared.leaderboard(base)
        runs = compared.frames.runs
        low, high = float(runs["score"].min()), float(runs["score"].max())
        plots = [
            Cell(write("score", row["score"], row["score_sd"]), row["score"], plot=dots(
                compared.of(row["method"])["score"], low, high))
            for row in frame.to_dict("records")
        ]  # fmt: skip
        board = table(
            self.name("leaderboard"), "Leaderboard", frame,
            ["method", column("score", title="score ± sd of seeds"), "seeds", "worst_task",
             "minutes",
             own("against", f"against {base}", RULE, "+.3f")],
            cells={"score": plots, "against": [versus(row) for row in frame.to_dict("records")]},
            tips={"worst_task": ["worst"], "minutes": ["time_ratio", "device"]},
            caption=f"Best epoch on the dev sets, of {compared.epochs} epochs. {RULE} "
                    f"Margin: {compared.margin:g}.",
            board=self.about["setting"],
        )  # fmt: skip
        return [board]

    def board(self) -> dict[str, Any]:
        """The leaderboard's last column against every baseline, for scripts."""
        compared = self.compared
        found = {}
        for base in compared.methods:
            others = [method for method in compared.methods if method != base]
            judged = compared.table((compared.difference(m, base) for m in others), named=True)
            rows = {row["method"]: row for row in judged.to_dict("records")}
            own_row = {"verdict": "baseline"}
            found[base] = [versus(rows.get(m, own_row)).packed() for m in compared.methods]
        return {
            "column": 5, "methods": compared.methods, "cells": list(found.values()),
            "baseline": compared.methods.index(compared.baseline(self.baseline)),
        }  # fmt: skip

    def tasks(self) -> list[Block]:
        """Each task's metric by method."""
        compared = self.compared
        frame = compared.leaderboard(self.baseline)
        metrics = compared.frames.scores.groupby("task", observed=True)["metric"].first()
        shown = [column(f"{t}.value", title=f"{t}, {metrics[t]}") for t in compared.tasks]
        changes = compared.changes().reset_index()
        more = ["delta_m"] if frame["delta_m"].notna().any() else []
        caption = "Mean ± standard deviation over seeds."
        if more:
            caption += (
                " Δm: mean change of the metrics against models of one task each (sampler=single)."
            )
            frame = frame.merge(changes.drop(columns="delta_m"), on="method")
        return [
            table(self.name("tasks"), "Metrics of each task", frame, ["method", *shown, *more],
                  caption=caption)
        ]  # fmt: skip

    def pairs(self) -> list[Block]:
        """Every pair of methods, in the score and in each task."""
        compared = self.compared
        if len(compared.methods) < 2:
            return []
        found = [
            compared.difference(a, b, what)
            for n, a in enumerate(compared.methods)
            for b in compared.methods[n + 1 :]
            for what in (SCORE, *compared.tasks)
        ]
        frame = compared.table(found, named=False)
        blocks: list[Block] = [
            table(
                self.name("differences"), "First minus second, in the score and in each task",
                frame, ["method", "minus", "what", "difference", "verdict", "p", "seeds"],
                tips={"difference": ["low", "high", "examples_low", "examples_high"]},
                folded=True,
                caption="Exploratory: no correction for their number, so some are significant by "
                        "chance alone. Task rows are differences of the metric itself.",
            )
        ]  # fmt: skip
        if compared.excluded:
            points = tuple(dict.fromkeys(compared.excluded))
            blocks.append(Text("Without an interval over dev examples:", points))
        return blocks

    def conflicts(self) -> list[Block]:
        """What the gradients did to each other in joint steps, by method."""
        frames = self.compared.frames
        steps = joint_steps(frames)
        if steps.empty:
            return []
        pairs = pairs_met(frames).pivot(index="run", columns="pair", values="cosine")
        parts = parts_taken(frames).pivot(index="run", columns="task", values="share")
        wide = steps.merge(pairs.add_suffix(".cosine").reset_index(), on="run")
        wide = wide.merge(parts.add_suffix(".share").reset_index(), on="run")
        frame = self.by_method(wide, ["conflicting", "removed", *wide.columns[4:]])
        names = [name for name in frame if name.endswith(".cosine")]
        shares = [f"{t}.share" for t in self.compared.tasks if f"{t}.share" in frame]
        if len(names) + len(shares) > 12:  # too many to read
            names, shares = [], []
        return [
            table(
                self.name("conflicts"), "Joint steps", frame,
                ["method", "conflicting", "removed",
                 *(column(n, title=f"cosine {n.removesuffix('.cosine')}") for n in names),
                 *(column(n, title=f"update's part {n.removesuffix('.share')}") for n in shares)],
                caption="Means over the seeds that recorded joint steps. In conflict: some pair's "
                        "gradients have a negative cosine. Removed: by how much the update is "
                        f"shorter than the plain sum of the gradients. {CHANCE}",
            )
        ]  # fmt: skip

    def by_method(self, frame: pd.DataFrame, values: Iterable[str]) -> pd.DataFrame:
        """Means and deviations over a method's runs, and how many they are."""
        frame = frame.merge(self.compared.frames.runs[["run", "method"]], on="run")
        groups = frame.groupby("method", observed=True)[list(values)]
        means, spread = groups.mean(), groups.std().add_suffix("_sd")
        return means.join(spread).assign(runs=groups.size()).reset_index()

    def use(self) -> list[Block]:
        """What each method used of each task's data, over all epochs."""
        values = ["train", "examples", "unique", "fraction", "repeats", "effective_epochs"]
        scores = self.compared.frames.scores.dropna(subset="examples")
        if scores.empty:
            return []
        means = scores.groupby(["method", "task"], observed=True)[values].mean().reset_index()
        return [
            table(
                self.name("use"), "Examples over all epochs", means, ["method", "task", *values],
                folded=len(means) > 12,
                caption="Means over seeds. Repeats are examples beyond the different ones; "
                        "effective epochs are examples by the size of the training set.",
            )
        ]  # fmt: skip

    def answers(self) -> list[Block]:
        """The wrong answers of the chosen runs, or of the best one."""
        runs = self.frames.runs
        names = [str(run) for run in runs["run"] if run in self.chosen]
        if not names:
            names = [str(runs.loc[runs["score"].idxmax(), "run"])]
        blocks: list[Block] = []
        for number, name in enumerate(names):
            scores = self.frames.scores[self.frames.scores["run"] == name]
            for score in scores.to_dict("records"):
                stem = self.name(f"{score['task']}{f'-{number + 1}' if number else ''}")
                blocks += task_answers(self.frames, score, stem)
        return blocks

    def runs(self) -> Table:
        """Every run, also those that no other table shows; names lead to their views."""
        tasks = list(self.about["tasks"])
        values = self.frames.scores.pivot(index="run", columns="task", values="value")
        values = values[tasks].add_suffix(".value").reset_index()
        shown = self.frames.runs.merge(values, on="run").sort_values(
            ["method", "epochs", "seed"], kind="stable"
        )
        shown["remark"] = ["" if not each else SUPERSEDED for each in shown["superseded"]]
        links = [
            Cell(str(run), link=f"#run={self.numbers[run]}" if run in self.numbers else "")
            for run in shown["run"]
        ]
        many = [] if len(tasks) > 12 else [f"{task}.value" for task in tasks]
        return table(
            self.name("runs"), "All runs",
            shown.drop(columns=["overrides", "notes", "versions", "directory"]),
            ["run", "method", "seed", "epochs", "best_epoch", *many, "score", "last_score",
             "minutes", "device", "commit", own("remark", "remark", "why no other table has it")],
            cells={"run": links}, folded=True,
            caption="Scores are the best epoch's."
                    + (" Each run's name leads to its own view." if self.numbers else ""),
        )  # fmt: skip

    def provenance(self) -> list[Block]:
        """What the runs have in common, and commits, devices, seeds, versions and notes."""
        runs, words = self.frames.runs, self.about["words"]
        common = [f"{key}: {_pairs(value)}" for key, value in words.items() if key != "tasks"]
        versions = sorted({_pairs(each) for each in runs["versions"]})
        origin = [
            f"Commits: {_listed(commit or 'unknown' for commit in runs['commit'])}",
            f"Devices: {_listed(runs['device'])}",
            f"Seeds: {_listed(map(str, sorted(runs['seed'].unique())))}",
            f"Versions: {' | '.join(versions)}",
            f"Finished: {runs['finished'].min():%Y-%m-%d} to {runs['finished'].max():%Y-%m-%d}",
        ]
        notes = sorted({note for each in runs["notes"] for note in each})
        blocks: list[Block] = [
            Text("What all runs of this setting have in common:", tuple(common)),
            Text("Where they come from:", tuple(origin)),
        ]
        return [*blocks, Text("Notes of the runs:", tuple(notes))] if notes else blocks


def versus(row: Any) -> Cell:
    """A method against the baseline: the difference and the verdict, the rest on demand."""
    verdict = str(row["verdict"])
    if verdict == "baseline":
        return Cell("baseline", 0.0, tone=QUIET)
    change = write("difference", row["difference"])
    tip = (
        f"{verdict}\n95 % interval over seeds: {write('low', row['low'])} to "
        f"{write('high', row['high'])}\nover dev examples: "
        f"{write('examples_low', row['examples_low'])} to "
        f"{write('examples_high', row['examples_high'])}\n"
        f"p = {write('p_holm', row['p_holm'])}, adjusted by Holm"
    )
    return Cell(
        f"{change} {SHORT.get(verdict, verdict)}", float(row["difference"]), tip,
        tone=TONES.get(verdict, QUIET),
    )  # fmt: skip


def task_answers(frames: Frames, score: Mapping[str, Any], stem: str) -> list[Block]:
    """A run's wrong answers to a task, the worst first, or why there are none.

    Of classes those with the highest confidence, of numbers those farthest off.

    Args:
        frames: with the run.
        score: the row of ``scores`` of the run and task.
        stem: what the names of its files begin with.
    """
    run, task, classes = score["run"], score["task"], score["classes"]
    if classes is None and score["scale"] is None:
        return [Text(f"{task}: its head is of a kind that this report has no figure for.")]
    try:
        found = frames.answers(run, task)
    except UnusableError as error:
        return [Text(f"{task}: the predictions of {run} are no use: {error}.")]
    found = found.assign(error=(found["prediction"] - found["label"]).abs())
    by = "error" if classes is None else "confidence"
    wrong = found[found["error"] > 0].sort_values(by, ascending=False, kind="stable")

    def named(values: Iterable[float]) -> list[Cell]:
        known = [
            classes[int(v)] if classes and 0 <= v < len(classes) else write("label", v)
            for v in values
        ]
        return [Cell(name) for name in known]

    what = "largest errors" if classes is None else "most confident wrong answers"
    shown = wrong.head(MISTAKES if frames.texts else 5)
    texts = [name for name in ("text", "text2") if name in shown]
    return [
        table(
            f"{stem}-mistakes", f"{task}: {what} of {run}", shown,
            [*texts, "label", "prediction", by],
            cells={} if classes is None else {
                "label": named(shown["label"]), "prediction": named(shown["prediction"])},
            folded=True,
            caption=f"{len(wrong):,} of {len(found):,} answers are wrong." if classes else "",
        )
    ]  # fmt: skip


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return setting_words(node)
    return ", ".join(f"{key}={setting_words(value)}" for key, value in node.items())


def _listed(words: Iterable[str]) -> str:
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
        chosen: runs whose answers are shown.
        with_views: whether each run has a view of its own, for scripts.
    """
    runs = list(views(frames)) if with_views else []
    numbers = {view["name"]: number for number, view in enumerate(runs)}
    articles, boards = [], {}
    for letter in frames.settings["setting"]:
        own_frames, _ = frames.of(letter)
        study = Study(
            Comparison(frames, letter, margin=margin), own_frames, numbers, baseline, chosen
        )
        articles.append(study.article())
        boards[letter] = study.board()
    return Page(tuple(articles), frames.warnings, boards, runs)
