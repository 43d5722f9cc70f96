"""The whole report, put together from frames: for each setting the answer first, then all else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd
from altair.utils.schemapi import debug_mode

from mtl_bert.analysis import blocks, claims, figures, leaderboard, summaries
from mtl_bert.analysis.blocks import Article, Block, Cell, Page, Row, Text, chart, plot, table
from mtl_bert.analysis.columns import Column, column, write
from mtl_bert.analysis.frames import Frames, file_name
from mtl_bert.analysis.leaderboard import MARGIN, SCORE, Comparison
from mtl_bert.analysis.run_view import mistakes, views
from mtl_bert.runs.answers import LEFT_OUT, UnusableError
from mtl_bert.runs.methods import setting_words

MISTAKES = 200  # wrong answers of a chosen run to a task that are listed
MANY = figures.FEW  # columns of tasks or pairs that a table can show


@dataclass(frozen=True)
class Study:
    """A setting while its article is written."""

    compared: Comparison
    frames: Frames  # of all its runs, also of those that are not compared
    numbers: Mapping[str, int]  # run -> place of its view; empty where there are no views
    baseline: str | None
    chosen: Sequence[str]  # runs whose answers are shown

    def article(self) -> Article:
        """All that is said of the setting."""
        c, about = self.compared, self.compared.about
        base = self.baseline if self.baseline and c.named(self.baseline) else None
        one, board = c.frames.runs.iloc[0], c.leaderboard(c.baseline(base))
        parts: dict[str, Iterable[Block | None]] = {
            "The paper's tables": self.paper(),
            "Each task": self.tasks(board),
            "Every pair of methods": self.pairs(),
            "Gradient conflicts": self.conflicts(),
            "How much of the data is used": self.use(),
            "What scores cost, and how they come about": self.course(),
            "Answers and mistakes": self.answers(),
            "Provenance": self.provenance(),
        }
        lead = f"data {one['data']}, encoder {one['encoder']}, epochs: {c.epochs}."
        return Article(
            anchor=about["slug"],
            short=f"{about['setting']}: {about['title']}",
            title=self.title,
            badges=about["badges"],
            lead=f"{lead} {about['caution']}".strip(),
            answer=f"{c.recommend()} {c.unlearned()}".strip(),
            first=self.named([self.board(board), chart("tradeoff", figures.tradeoff(c))]),
            sections={t: shown for t, made in parts.items() if (shown := self.named(made))},
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What was compared on which data, in a sentence."""
        c, runs = self.compared, self.compared.frames.runs
        tasks = leaderboard.listed(c.tasks) if len(c.tasks) <= 6 else f"{len(c.tasks)} tasks"
        seeds = sorted({len(c.of(method)) for method in c.methods})
        each = " to ".join(dict.fromkeys(map(str, (seeds[0], seeds[-1]))))
        what = f"{len(c.methods)} methods compared" if len(c.methods) > 1 else c.methods[0]
        return f"{what} on {tasks} of {runs['data'].iloc[0]}, {each} seed{'s' * (seeds != [1])}"

    def named(self, made: Iterable[Block | None]) -> list[Block]:
        """The blocks that there are, each with a name for its file that no other setting has."""
        slug = self.compared.about["slug"]
        return [block if isinstance(block, Text)
                else block._replace(name=f"{slug}-{file_name(block.name)}")
                for block in made if block]  # fmt: skip

    def board(self, frame: pd.DataFrame) -> blocks.Table:
        """Every method, its score and price, and where it stands to each as the baseline."""
        c, scores = self.compared, self.compared.frames.runs["score"]
        ends = float(scores.min()), float(scores.max())
        given: dict[str, list[Cell]] = {"score": []}
        for row in frame.to_dict("records"):
            own = c.of(row["method"])["score"].to_list()
            drawn = plot(f"seeds: {', '.join(f'{v:.3f}' for v in own)}", own, ends, row["score"])
            text = write("score", row["score"], row["score_sd"])
            given["score"].append(Cell(text, row["score"], plots=drawn))
        for base in c.methods:
            rows = {row["method"]: row for row in c.against(base).to_dict("records")}
            given[f"{base}.against"] = [versus(rows.get(m)) for m in frame["method"]]
        columns = [column(f"{m}.against", f"against {m}") for m in c.methods]
        made = table("leaderboard", frame.drop(columns="setting"), more=columns, given=given,
                     epochs=c.epochs, margin=c.margin, elsewhere=c.elsewhere())  # fmt: skip
        return made._replace(shown=f"{frame['baseline'].iloc[0]}.against")

    def tasks(self, frame: pd.DataFrame) -> Iterable[Block]:
        """Each task's metric by method, and the change to models of one task each."""
        scores = self.compared.frames.scores.groupby("task", observed=True)
        metrics, constant = scores["metric"].first(), scores["constant"].mean().dropna()
        more = [column(f"{t}.value", title=f"{t}, {metrics[t]}") for t in self.compared.tasks]
        if len(constant):
            last = constant.add_suffix(".value").to_frame().T.assign(method="one answer for all")
            frame = pd.concat([frame, last])
        if frame["trained_per_task"].nunique() < 2:  # of interest where methods differ in it
            frame = frame.drop(columns="trained_per_task")
        yield table("tasks", frame, more=more)

    def paper(self) -> Iterable[Block]:
        """The paper's tables beside ours, and its claims; nothing for others' tasks."""
        c = self.compared
        first = Comparison(self.frames, c.about["setting"], epochs=1, margin=c.margin)
        if not claims.is_the_papers(c, first):
            return
        yield from self.claims()
        yield from self.printed(c, 2, "baselines for PCGrad")
        if first.methods:
            yield from self.printed(first, 3, "paraphrase after one epoch")
        yield from self.printed(c, 4, "ARRP after all epochs")
        yield table("table1", claims.sizes(c))

    def claims(self) -> Iterable[Block]:
        """The paper's claims, each with its verdict and a bar for each difference it rests on."""
        found, evidence = claims.claims(self.compared)
        margin, bars = self.compared.margin, {n: list[blocks.Plot]() for n in found["claim"]}
        widest: Any = evidence[["low", "high"]].abs().max(axis=None)
        reach = min(0.3, widest)
        for row in evidence.to_dict("records"):
            ends = [row[name] for name in ("difference", "low", "high")]
            said, *interval = (write("difference", value) for value in ends)
            label = f"{row['contrast']}: {said} ({' to '.join(interval)})"
            bars[row["claim"]] += plot(
                label, ends[:1], (-reach, reach), 0, ends[1:], (-margin, margin)
            )
        drawn = [Cell("", plots=bars[n]) for n in found["claim"]]
        yield table("claims", found, given={"evidence": drawn}, margin=margin)
        yield table("evidence", evidence)

    def printed(self, c: Comparison, number: int, about: str) -> Iterable[Block]:
        """A table of the paper beside ours, and the command for the rows that are missing."""
        frame = claims.table(c, number)
        titles = {f"{task}.value": task for task in c.tasks} | {"score": "score"}
        pairs = [(name, f"paper.{name}", title) for name, title in titles.items()
                 if f"paper.{name}" in frame]  # fmt: skip
        pairs.append(("minutes", "paper.minutes", "min beyond RR") if number == 3 else
                     ("full.time_ratio", "paper.time_ratio", "time ÷ RR"))  # fmt: skip
        more = [made for ours, paper, title in pairs
                for made in (column(ours, title), column(paper, f"{title}, paper"))]  # fmt: skip
        yield table("printed", frame.drop(columns="notes"), f"table{number}", more=more,
                    number=number, about=about)  # fmt: skip
        notes = frame.explode("notes").groupby("notes", sort=False)["row"].agg("; ".join)
        yield Text("", [f"{rows}: {note}" for note, rows in notes.items()])
        if len(missing := frame.loc[frame["method"].isna(), "experiment"]):
            yield Text(
                f"Rows that nobody has run: mtl-bert train -m +experiment/table{number}="
                f"{','.join(missing)} seed=1,2,3 epochs={c.epochs}, with the settings of Provenance"
            )

    def pairs(self) -> Iterable[Block]:
        """Every pair of methods, in the score and in each task."""
        c = self.compared
        if len(c.methods) < 2:
            return
        whats = (SCORE, *(c.tasks if len(c.methods) * len(c.tasks) < 20 * MANY else ()))
        pairs = list(combinations(c.methods, 2))
        frame = c.differences([(*pair, what) for what in whats for pair in pairs], named=False)
        yield table("differences", frame.head(len(pairs)))._replace(frame=frame)
        if c.excluded:
            yield Text("Without an interval over dev examples:", list(dict.fromkeys(c.excluded)))

    def conflicts(self) -> Iterable[Block | None]:
        """What the gradients did to each other in joint steps, by method."""
        frames, by = self.compared.frames, ["method"]
        steps = summaries.joint_steps(frames).groupby(by, observed=True)
        if not len(steps):
            return
        values = steps[["conflicting", "removed"]]
        found = values.mean().join(values.std().add_suffix("_sd"))
        wide, more = [found.assign(seeds=steps.size())], list[Column]()
        for frame, key, value, title in (
            (summaries.pairs(frames), "pair", "cosine", "cosine"),
            (summaries.influences(frames), "task", "share", "part of"),
        ):
            mean = frame.groupby([*by, key], observed=True)[value].mean().unstack()
            wide.append(mean.add_suffix(f".{value}"))
            more += [column(f"{name}.{value}", f"{title} {name}") for name in mean]
        whole = pd.concat(wide, axis=1).reset_index()
        yield table("conflicts", whole, more=more if len(more) <= MANY else ())
        if len(more) <= MANY:
            yield chart("conflicts-chart", figures.conflicts(self.compared))

    def use(self) -> Iterable[Block | None]:
        """What each method used of each task's data, over all epochs."""
        found = summaries.usage(self.compared.frames)
        if found.empty:
            return
        if len(self.compared.tasks) <= MANY:
            yield chart("use-chart", figures.usage(self.compared))
        yield table("use", found)

    def course(self) -> Iterable[Block | None]:
        """Scores over epochs and examples, what λ and B do, and what phases cost."""
        c = self.compared
        if c.epochs > 1:
            yield chart("progress", figures.progress(c))
            yield chart("progress-examples", figures.progress(c, by="examples"))
        yield chart("lambda", figures.effect(c, of="λ"))
        yield chart("B", figures.effect(c, of="B"))
        if len(costs := summaries.costs(c.frames)):
            yield table("costs", costs)

    def answers(self) -> Iterable[Block | None]:
        """The answers of the chosen runs: charts and wrong ones."""
        names = [str(run) for run in self.frames.runs["run"] if str(run) in self.chosen]
        for number, name in enumerate(names):
            scores = self.frames.scores[self.frames.scores["run"] == name]
            for score in scores.head(MANY).to_dict("records"):
                task, stem = score["task"], f"{score['task']}{f'-{number + 1}' if number else ''}"
                try:
                    drawn = chart(f"{stem}-answers", figures.answers(self.frames, name, task))
                    wrong = mistakes(self.frames, score, MISTAKES)
                except UnusableError as error:
                    yield Text(f"{task}: the predictions of {name} are no use: {error}.")
                    continue
                yield drawn
                by = "most confident wrong answers" if score["classes"] else "largest errors"
                if (wrong["text"] != LEFT_OUT).any():
                    yield table("mistakes", wrong, f"{stem}-mistakes", task=task, by=by)

    def provenance(self) -> Iterable[Block]:
        """What the runs have in common, where they come from, and every one of them."""
        runs, words = self.frames.runs, self.compared.about["words"]
        common = [f"{key}: {_pairs(value)}" for key, value in words.items() if key != "tasks"]
        yield Text("What all runs of this setting have in common:", common)
        yield Text("Versions:", sorted({_pairs(each) for each in runs["versions"]}))
        if notes := sorted({note for each in runs["notes"] for note in each}):
            yield Text("Notes of the runs:", notes)
        tasks = list(self.compared.tasks)
        own = self.frames.scores.pivot(index="run", columns="task", values="value")[tasks]
        newer = {True: "left out: a newer run has the same method and seed", False: ""}
        remarked = runs.assign(remark=runs["superseded"].map(newer))
        shown = remarked.join(own.add_suffix(".value"), on="run")
        shown = shown.drop(columns=["overrides", "notes", "unlearned", "versions", "directory",
                                    "superseded"])  # fmt: skip
        shown = shown.sort_values(["method", "epochs", "seed"])
        links = [Cell(str(run), link=f"#run={self.numbers[run]}" if self.numbers else "")
                 for run in shown["run"]]  # fmt: skip
        metrics = [] if len(tasks) > MANY else [column(f"{task}.value") for task in tasks]
        yield table("runs", shown, more=metrics, given={"run": links})


def versus(row: Row | None) -> Cell:
    """A method against the baseline: the difference and the verdict, the rest on demand."""
    if row is None:
        return Cell("baseline", 0.0, tone="quiet")
    verdict = str(row["verdict"])
    told = {name: write(name, value) for name, value in row.items()}
    tip = (
        f"{verdict}\n95 % interval over seeds: {told['low']} to {told['high']}\n"
        f"over dev examples: {told['examples_low']} to {told['examples_high']}\n"
        f"p = {told['p_holm']}, adjusted by Holm"
    )
    short = "significant" if verdict.startswith("significantly") else verdict
    return Cell(f"{told['difference']} {short}", tip=tip, tone=blocks.TONES.get(verdict, "quiet"))


def _pairs(node: object) -> str:
    """A group of settings in a line."""
    if not isinstance(node, dict):
        return setting_words(node)
    return ", ".join(f"{key}={setting_words(value)}" for key, value in node.items())


def report(
    frames: Frames, baseline: str | None = None, margin: float = MARGIN,
    chosen: Sequence[str] = (), *, with_views: bool = True,
) -> Page:  # fmt: skip
    """The report of runs, each with a view of its own if wanted.

    ``baseline`` is the method that others are held against; of ``chosen`` runs the answers are
    shown, without any of the best one of the first setting.
    """
    numbers = {str(run): n for n, run in enumerate(frames.runs["run"])} if with_views else {}
    if not chosen:
        first = frames.runs[frames.runs["setting"] == "A"]
        chosen = [str(first.sort_values("score", kind="stable")["run"].iloc[-1])]
    articles = []
    every = [Comparison(frames, letter, margin=margin) for letter in frames.settings["setting"]]
    if baseline and not any(c.named(baseline) for c in every):
        every[0].find(baseline, of="--baseline")  # refuses it
    with debug_mode(False):  # checking each chart by its schema takes longer than all the rest
        for c in every:
            whole = frames.only(frames.runs[frames.runs["setting"] == c.about["setting"]])
            articles.append(Study(c, whole, numbers, baseline, chosen).article())
        articles += series(frames)
        return Page(articles, frames.warnings, list(views(frames)) if with_views else ())


def series(frames: Frames) -> Iterator[Article]:
    """Scores against the ratio of sizes, of settings that differ in it alone."""
    if (drawn := chart("imbalance-chart", figures.imbalance(frames))) is not None:
        values = summaries.imbalance(frames).groupby(["what", "method", "ratio"], sort=False).value
        means = values.mean().to_frame().assign(value_sd=values.std(), seeds=values.size())
        yield Article(
            "imbalance", "Scores against the imbalance of sizes",
            "The largest training set to each other one, where nothing else differs.",
            [drawn, table("imbalance", means.reset_index())], short="Imbalance of sizes",
        )  # fmt: skip
