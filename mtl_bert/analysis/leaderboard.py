"""Methods beside each other: which scores higher, how sure that is, and which to use.

A difference is significant where both its intervals exclude 0 on the same side: that over seeds
(paired t test, adjusted by Holm within contrasts that were named beforehand) and that over dev
examples (paired bootstrap). It is equivalent where both, as two one-sided tests, lie within the
margin. All other pairs are exploratory. With one common seed nothing is said.
"""

from collections.abc import Iterable
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from mtl_bert.analysis import columns
from mtl_bert.analysis.columns import write
from mtl_bert.analysis.frames import Frames, Source, UnusableError, read
from mtl_bert.analysis.statistics import (
    LEVEL,
    Floats,
    Interval,
    Paired,
    bootstrap,
    holm,
    paired,
    percentiles,
    recognise,
    whole,
)
from mtl_bert.utils.errors import UserError

SCORE = "score"
MARGIN = 0.01  # of the score or a metric: what is smaller does not matter
ALPHA = 1 - LEVEL
WORTH = 0.95  # of the time: what saves less is no reason to choose it
HIGHER, LOWER = "significantly higher", "significantly lower"
EQUIVALENT, NOT_SIGNIFICANT = "equivalent", "not significant"


class Difference(NamedTuple):
    """One method minus another, in the score or a task's metric.

    Attributes:
        method, minus: their names.
        what: the task, or the score.
        mean: over common seeds; of all seeds' means where fewer than two are common.
        seeds: what the common seeds say.
        examples: the 95 % interval over resampled dev examples; NaN where that is not possible.
        examples_90: the 90 % interval, which two one-sided tests look at.
    """

    method: str
    minus: str
    what: str
    mean: float
    seeds: Paired
    examples: Interval
    examples_90: Interval

    @property
    def unknown(self) -> str:
        """Why nothing can be said; empty where something can."""
        if self.seeds.n < 2:
            return f"{'one' if self.seeds.n else 'no'} common seed"
        return "no interval over dev examples" if np.isnan(self.examples.low) else ""

    def sign(self, p: float | None = None) -> int:
        """1 or -1 where it is significantly above or below 0, else 0.

        Args:
            p: the adjusted p value, where there is a family to adjust for.
        """
        shown = (self.seeds.p if p is None else p) < ALPHA and not self.unknown
        return self.examples.sign if shown and np.sign(self.mean) == self.examples.sign else 0

    def verdict(self, margin: float, p: float | None = None) -> str:
        """In words; ``p`` as in :meth:`sign`."""
        if self.unknown:
            return f"unknown: {self.unknown}"
        if self.seeds.p_equivalent < ALPHA and self.examples_90.within(margin):
            return EQUIVALENT
        return {1: HIGHER, -1: LOWER, 0: NOT_SIGNIFICANT}[self.sign(p)]


class Comparison:
    """The methods of a setting that were trained equally long, and untrained ones.

    Args:
        source: directories, a frame of runs, or frames.
        setting: its letter.
        epochs: of the runs; those that most have, where it is not given.
        margin: within which methods count as equivalent.

    Attributes:
        frames: of the runs that are compared.
        about: the setting's row.
        methods: their names, in order; those in ``trained`` were.
        excluded: what could not be resampled, and why, after :meth:`difference` was asked.
    """

    def __init__(
        self,
        source: Source | Frames,
        setting: str = "A",
        epochs: int | None = None,
        margin: float = MARGIN,
    ) -> None:
        own, self.about = read(source).of(setting)
        self.epochs, self.margin = epochs or int(self.about["main_epochs"]), margin
        runs = own.runs.assign(_other=own.runs["epochs"] != self.epochs)
        runs = runs[~runs["_other"] | (runs["last_epoch"] == 0)].sort_values(
            "_other", kind="stable"
        )
        runs = runs.drop_duplicates(["method", "seed"]).drop(columns="_other").sort_index()
        self.frames, self.excluded = own.only(runs), list[str]()
        self.methods = [m for m in runs["method"].cat.categories if (runs["method"] == m).any()]
        trained = set(runs.loc[runs["last_epoch"] > 0, "method"])
        self.trained = [method for method in self.methods if method in trained]
        self.tasks: tuple[str, ...] = self.about["tasks"]

    def of(self, method: str) -> pd.DataFrame:
        """A method's runs, by seed."""
        runs = self.frames.runs
        return runs[runs["method"] == method].sort_values("seed")

    def find(self, name: str) -> list[str]:
        """The methods that a name may mean: its own, its sampler's, or a part of it.

        Raises:
            UserError: none.
        """
        samplers = self.frames.runs.groupby("method", observed=True)["sampler"].first()
        for found in (
            [m for m in self.methods if m.casefold() == name.casefold()],
            [m for m in self.methods if samplers[m] == name.casefold()],
            [m for m in self.methods if name.casefold() in m.casefold()],
        ):
            if found:
                return found
        raise UserError(
            f"method: expected one of {'; '.join(self.methods)}, found {name!r}; "
            f"write for example {self.methods[0]!r}"
        )

    @cached_property
    def values(self) -> dict[str, pd.DataFrame]:
        """The score, and each task's metric: seeds (rows) by methods (columns)."""
        runs, scores = self.frames.runs, self.frames.scores
        found = {SCORE: runs.pivot(index="seed", columns="method", values="score")}
        by_task = scores.groupby("task", observed=True)
        pivots = {t: g.pivot(index="seed", columns="method", values="value") for t, g in by_task}
        return found | {task: pivots[task] for task in self.tasks}

    @cached_property
    def _resampled(self) -> dict[str, dict[tuple[str, int], Floats]]:
        """The same on resampled dev sets: score or task -> method, seed -> [R]."""
        ranges = self.frames.scores.groupby("task", observed=True)[["lowest", "highest"]].first()
        found = {task: self._resample(task, n) for n, task in enumerate(self.tasks)}
        shared = set.intersection(*(set(each) for each in found.values()))
        units = {
            key: [
                (found[t][key] - ranges["lowest"][t]) / (ranges["highest"][t] - ranges["lowest"][t])
                for t in self.tasks
            ]
            for key in shared
        }
        return found | {SCORE: {key: np.mean(each, axis=0) for key, each in units.items()}}

    def _resample(self, task: str, stream: int) -> dict[tuple[str, int], Floats]:
        """A task's metric of all methods whose files can be resampled together."""
        scores = self.frames.scores[self.frames.scores["task"] == task]
        files: dict[tuple[str, int], pd.DataFrame] = {}
        metric, standard = None, None
        for method in self.methods:
            own = {}
            try:
                for row in scores[scores["method"] == method].to_dict("records"):
                    found = self.frames.answers(row["run"], task)
                    y, answers = found["label"].to_numpy(), found["prediction"].to_numpy()[None]
                    recorded = np.array([row["value"]])
                    metric = metric or recognise(row["metric"], y, answers, recorded)
                    if metric is None:
                        raise UnusableError(f"{row['metric']} is not known here, or not its file's")
                    if recognise(metric, y, answers, recorded) != metric:
                        value = write("value", whole(metric, y, answers)[0])
                        raise UnusableError(
                            f"{row['run']}: {metric} of the file is {value}, recorded "
                            f"{write('value', row['value'])}"
                        )
                    if len(found) < 2:
                        raise UnusableError("too few dev examples")
                    standard = found if standard is None else standard
                    if not found[["id", "label"]].equals(standard[["id", "label"]]):
                        raise UnusableError(f"{row['run']}: another dev set than the others'")
                    own[method, int(row["seed"])] = found
            except UnusableError as error:
                self.excluded.append(f"{method}, {task}: {error}")
            else:
                files |= own
        if metric is None or standard is None:
            return {}
        predictions = np.stack([found["prediction"] for found in files.values()])
        drawn = bootstrap(metric, standard["label"].to_numpy(), predictions, stream)
        return dict(zip(files, drawn, strict=True))

    def difference(self, method: str, minus: str, what: str = SCORE) -> Difference:
        """One method minus another."""
        values = self.values[what][[method, minus]]
        common = values.dropna()
        seeds = paired((common[method] - common[minus]).to_numpy(float), self.margin)
        mean = seeds.mean if seeds.n > 1 else float(values[method].mean() - values[minus].mean())
        known, means = self._resampled[what], []
        for name in (method, minus):
            used = common.index if len(common) else values[name].dropna().index
            rows = [known[name, int(seed)] for seed in used if (name, int(seed)) in known]
            if len(rows) == len(used):
                means.append(np.mean(rows, axis=0))
        if len(means) < 2:
            return Difference(method, minus, what, mean, seeds, Interval(), Interval())
        both = (percentiles(means[0] - means[1], level) for level in (LEVEL, 2 * LEVEL - 1))
        return Difference(method, minus, what, mean, seeds, *both)

    def table(self, found: Iterable[Difference], *, named: bool) -> pd.DataFrame:
        """The frame ``differences``.

        Args:
            found: a row for each.
            named: whether they were named beforehand, and are one family for Holm's adjustment.
        """
        found = list(found)
        adjusted = holm([d.seeds.p for d in found]) if named else [np.nan] * len(found)
        rows = [
            (0, d.what, d.method, d.seeds.n, d.minus, d.mean, *d.seeds.interval, d.seeds.p,
             None if np.isnan(p) else p, d.seeds.p_equivalent, *d.examples,
             d.verdict(self.margin, p if named else None), not named)
            for d, p in zip(found, adjusted, strict=True)
        ]  # fmt: skip
        return columns.frame(
            "differences", rows, pd.DataFrame({"setting": [self.about["setting"]]})
        )

    def baseline(self, name: str | None = None) -> str:
        """The method that others are held against: a name's first; or round-robin, or the first."""
        if name is not None:
            return self.find(name)[0]
        samplers = self.frames.runs.groupby("method", observed=True)["sampler"].first()
        plain = [m for m in self.trained if samplers[m] in ("rr", "single")]
        return (plain or self.trained or self.methods)[0]

    def same_device(self, *methods: str) -> bool:
        """Whether all their runs ran on one device, so that times may be compared."""
        return pd.concat([self.of(m)["device"] for m in methods]).nunique() == 1

    def time_ratio(self, method: str, other: str) -> float:
        """Minutes per epoch of one to the other's; NaN where they do not compare."""
        ours, theirs = (self.of(m)["minutes"].mean() for m in (method, other))
        known = self.same_device(method, other) and ours > 0 and theirs > 0
        return float(ours / theirs) if known else float("nan")

    def leaderboard(self, baseline: str | None = None) -> pd.DataFrame:
        """The frame ``leaderboard``: every method, the highest score first.

        Also ``TASK.value`` and ``TASK.value_sd`` for each task.
        """
        base = self.baseline(baseline)
        others = [method for method in self.methods if method != base]
        judged = self.table((self.difference(m, base) for m in others), named=True)
        judged = judged.set_index("method")
        changes = self.changes()
        rows, more = [], []
        for method in self.methods:
            own = self.of(method)
            units = self.frames.scores[self.frames.scores["method"] == method]
            units = units.groupby("task", observed=True)["unit"].mean()
            d = judged.loc[method] if method in judged.index else None
            names = ("difference", "low", "high", "p_holm", "examples_low", "examples_high")
            rows.append((
                0, method, own["score"].mean(), own["score"].std(), len(own), units.idxmin(),
                units.min(), own["minutes"].mean(), own["minutes"].std(),
                self.time_ratio(method, base), base,
                *((None,) * len(names) if d is None else (d[name] for name in names)),
                "baseline" if d is None else d["verdict"], changes["delta_m"].get(method),
                "; ".join(sorted(set(own["device"]))),
            ))  # fmt: skip
            values = {task: self.values[task][method] for task in self.tasks}
            more.append({f"{t}.value": v.mean() for t, v in values.items()}
                        | {f"{t}.value_sd": v.std() for t, v in values.items()})  # fmt: skip
        keys = pd.DataFrame({"setting": [self.about["setting"]]})
        found = columns.frame("leaderboard", rows, keys)
        found = pd.concat([found, pd.DataFrame(more)], axis=1)
        return found.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def changes(self) -> pd.DataFrame:
        """How each method treats the tasks, against models of one task each (sampler=single).

        Columns: ``TASK.change`` (of the metric, as a share of the single-task models' mean),
        ``delta_m`` (Δm, their mean: Maninis et al., CVPR 2019) and ``changed_worst`` (the task with
        the lowest). They are empty without such a model, or where its metric is not above 0.
        """
        samplers = self.frames.runs.groupby("method", observed=True)["sampler"].first()
        single = [method for method in self.trained if samplers[method] == "single"]
        means = pd.DataFrame({task: self.values[task].mean() for task in self.tasks})
        base = means.loc[min(single, key=len)] if single else means.iloc[0] * np.nan
        found = means.loc[self.methods] / base.where(base > 0) - 1
        whole = found.notna().all(axis=1)
        return found.add_suffix(".change").assign(
            delta_m=found.mean(axis=1).where(whole),
            changed_worst=found[whole].idxmin(axis=1).reindex(found.index),
        )

    def recommend(self) -> str:
        """Which method to use, in a sentence that says how sure that is."""
        mean = self.frames.runs.groupby("method", observed=True)["score"].mean()
        ranked = sorted(self.trained, key=lambda m: -mean[m])
        if not ranked:
            return "Nothing was trained, so nothing can be recommended."
        best, others = ranked[0], ranked[1:]
        if not others:
            return f"{best} is the only method here: there is nothing to compare it with."
        found = {m: self.difference(best, m) for m in others}
        said = {m: d.verdict(self.margin) for m, d in found.items()}
        leads = f"{best} has the highest score ({write('score', mean[best])})"
        if all(verdict.startswith("unknown") for verdict in said.values()):
            return (
                f"{leads}, but {said[others[0]].removeprefix('unknown: ')}: run every method with "
                "at least three seeds before choosing."
            )
        ratios = {m: self.time_ratio(m, best) for m in others}
        faster = sorted((m for m in others if ratios[m] < WORTH), key=lambda m: ratios[m])
        for method in faster:
            if said[method] == EQUIVALENT:
                return (
                    f"Use {method}: it and {best}, which has the highest score, are equivalent "
                    f"within {self.margin:g}, and it takes "
                    f"{write('time_ratio', ratios[method])} of the time."
                )
        if all(verdict == HIGHER for verdict in said.values()):
            return f"Use {best}: its score is significantly higher than every other method's."
        rest = [m for m in others if said[m] == NOT_SIGNIFICANT]
        cheapest = next((m for m in faster if m in rest), None)
        saved = (
            f"; {cheapest} takes {write('time_ratio', ratios[cheapest])} of its time"
            if cheapest
            else ""
        )
        shown = " or ".join(rest[:3]) + (f" or {len(rest) - 3} others" if len(rest) > 3 else "")
        if not rest:
            return f"Use {best}: no other method scores higher, and none that is equal is faster."
        return f"{leads}, but not significantly higher than {shown}{saved}."


def compare(
    source: Source | Frames, first: str, second: str, setting: str = "A", margin: float = MARGIN
) -> pd.DataFrame:
    """The frame ``differences`` of methods: the score, then every task.

    Args:
        source: a directory, a frame of runs, or frames.
        first: a method's name, its sampler's, or a part of it; several methods may be meant.
        second: what is subtracted, likewise.
        setting: the letter of the runs' setting.
        margin: within which methods count as equivalent.
    """
    comparison = Comparison(source, setting, margin=margin)
    pairs = [(a, b) for a, b in product(comparison.find(first), comparison.find(second)) if a != b]
    scores = comparison.table((comparison.difference(a, b) for a, b in pairs), named=True)
    tasks = [comparison.difference(a, b, t) for a, b in pairs for t in comparison.tasks]
    return pd.concat([scores, comparison.table(tasks, named=False)], ignore_index=True)


def leaderboard(
    source: Source | Frames,
    baseline: str | None = None,
    setting: str = "A",
    margin: float = MARGIN,
) -> pd.DataFrame:
    """The frame ``leaderboard`` of a setting, against a baseline."""
    return Comparison(source, setting, margin=margin).leaderboard(baseline)


def recommend(source: Source | Frames, setting: str = "A", margin: float = MARGIN) -> str:
    """Which method of a setting to use, in a sentence that says how sure that is."""
    return Comparison(source, setting, margin=margin).recommend()
