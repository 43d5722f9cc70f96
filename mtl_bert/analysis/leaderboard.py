"""Methods beside each other: which scores higher, how sure that is, and which to use.

A difference is significant where both its intervals exclude 0 on the same side: that over seeds
(paired t test, adjusted by Holm within contrasts that were named beforehand) and that over dev
examples (paired bootstrap). It is equivalent where both, as two one-sided tests, lie within the
margin. All other pairs are exploratory. With one common seed nothing is said.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from typing import Union

import numpy as np
import pandas as pd

from mtl_bert.analysis import columns, statistics
from mtl_bert.analysis.columns import write
from mtl_bert.analysis.frames import Frames, Source, read
from mtl_bert.analysis.statistics import Interval, Paired, percentiles
from mtl_bert.runs.answers import UnusableError
from mtl_bert.runs.methods import Method
from mtl_bert.tasks.resampled_metrics import Floats, recognise
from mtl_bert.utils.errors import UserError

SCORE = "score"
MARGIN = 0.01  # of the score or a metric: what is smaller does not matter
ALPHA = 1 - statistics.LEVEL
WORTH = 0.95  # of the time: what saves less is no reason to choose it
HIGHER, LOWER = "significantly higher", "significantly lower"
EQUIVALENT, NOT_SIGNIFICANT = "equivalent", "not significant"
Compared = Union[Source, Frames, "Comparison"]
Contrast = tuple[str, str, str]
"""A method, the one that is subtracted from it, and the task, or the score."""


def verdict(
    seeds: Paired, examples: Interval, narrow: Interval, margin: float, p: float
) -> tuple[int, str]:
    """Whether a difference is significantly above (1) or below 0 (-1), and the verdict in words.

    ``examples`` is its 95 % interval over dev examples, ``narrow`` the 90 % one, and ``p`` the p
    value over seeds, adjusted where there is a family to adjust for.
    """
    if seeds.n < 2:
        return 0, f"unknown: {'one' if seeds.n else 'no'} common seed"
    if np.isnan(examples.low):
        return 0, "unknown: no interval over dev examples"
    sign = examples.sign if p < ALPHA and np.sign(seeds.mean) == examples.sign else 0
    if seeds.p_equivalent < ALPHA and narrow.within(margin):
        return sign, EQUIVALENT
    return sign, {1: HIGHER, -1: LOWER, 0: NOT_SIGNIFICANT}[sign]


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
        kinds: name -> the method, as its settings say it.
        excluded: what could not be resampled, and why, after differences were asked for.
    """

    def __init__(
        self, source: Source | Frames, setting: str = "A", epochs: int | None = None,
        margin: float = MARGIN,
    ) -> None:  # fmt: skip
        own, self.about = read(source).of(setting)
        self.epochs, self.margin = epochs or int(self.about["main_epochs"]), margin
        self.tasks: tuple[str, ...] = self.about["tasks"]
        trained = (own.runs["epochs"] == self.epochs) & (own.runs["last_epoch"] > 0)
        runs = own.runs[trained | (own.runs["last_epoch"] == 0)]
        runs = runs.sort_values(["seed", "epochs"]).drop_duplicates(["method", "seed"])
        self.frames, self.excluded = own.only(runs), list[str]()
        self._runs = {str(m): rows for m, rows in runs.groupby("method", observed=True)}
        self.methods = list(self._runs)
        self.kinds: dict[str, Method] = {
            m: own.methods[rows["run"].iloc[0]] for m, rows in self._runs.items()
        }
        self.trained = [m for m, rows in self._runs.items() if (rows["last_epoch"] > 0).any()]

    def of(self, method: str) -> pd.DataFrame:
        """A method's runs, by seed."""
        return self._runs[method]

    def find(self, name: str, of: str = "method") -> list[str]:
        """The methods that a name means; UserError if there are none, told as one ``of`` which."""
        if found := self.named(name):
            return found
        known = f"{'; '.join(self.methods)}, found {name!r}; write for example {self.methods[0]!r}"
        raise UserError(f"{of}: expected one of {known}")

    def named(self, name: str) -> list[str]:
        """The methods that a name may mean: its own, its sampler's, or a part of it."""
        wanted = name.casefold()
        ways = (lambda m: m.casefold() == wanted, lambda m: self.kinds[m].sampler == wanted,
                lambda m: wanted in m.casefold())  # fmt: skip
        return next(filter(None, ([m for m in self.methods if way(m)] for way in ways)), [])

    @cached_property
    def values(self) -> dict[str, pd.DataFrame]:
        """The score, and each task's metric: seeds (rows) by methods (columns)."""
        by = {"index": "seed", "columns": "method"}
        found = {SCORE: self.frames.runs.pivot(**by, values="score")}
        tasks = self.frames.scores.groupby("task", observed=True)
        return found | {str(task): rows.pivot(**by, values="value") for task, rows in tasks}

    @cached_property
    def _resampled(self) -> dict[str, dict[tuple[str, int], Floats]]:
        """The same on resampled dev sets: score or task -> method, seed -> [R]."""
        found = {task: self._resample(task, n) for n, task in enumerate(self.tasks)}
        about = self.frames.scores.groupby("task", observed=True).first()
        low, size, weight = about["lowest"], about["highest"] - about["lowest"], about["weight"]
        return found | {
            SCORE: {
                key: np.average(
                    [(found[t][key] - low[t]) / size[t] for t in self.tasks],
                    axis=0,
                    weights=[weight[t] for t in self.tasks],
                )
                for key in set.intersection(*map(set, found.values()))
            }
        }

    def _resample(self, task: str, stream: int) -> dict[tuple[str, int], Floats]:
        """A task's metric of all runs whose answers can be resampled together."""
        scores = self.frames.scores[self.frames.scores["task"] == task]
        files: dict[tuple[str, int], Floats] = {}
        metric, standard = "", None
        for row in scores.sort_values("method", kind="stable").to_dict("records"):
            try:
                ids, labels, answers = self.frames.compared(row["run"], task)
                standard = (ids, labels) if standard is None else standard
                same = ids == standard[0] and np.array_equal(labels, standard[1])
                if len(ids) < 2 or not same:
                    raise UnusableError(f"{row['run']} has another dev set than the others")
                known = recognise(metric or row["metric"], labels, answers, row["value"])
                metric = metric or known
                if not known or known != metric:
                    value = f"{row['metric']} of {write('value', row['value'])}"
                    raise UnusableError(f"the file of {row['run']} does not give its {value}")
                files[str(row["method"]), int(row["seed"])] = answers
            except UnusableError as error:
                self.excluded.append(f"{row['method']}, {task}: {error}")
        if not files or standard is None:
            return {}
        drawn = statistics.bootstrap(metric, standard[1], np.stack(list(files.values())), stream)
        return dict(zip(files, drawn, strict=True))

    def differences(self, contrasts: Iterable[Contrast], *, named: bool) -> pd.DataFrame:
        """The frame ``differences`` of ``contrasts``; if ``named`` beforehand, adjusted by Holm."""
        found = [(*contrast, *self._difference(*contrast)) for contrast in contrasts]
        adjusted = statistics.holm([seeds.p if named else np.nan for *_, seeds, _ in found])
        rows = []
        for (method, minus, what, mean, seeds, examples), p in zip(found, adjusted, strict=True):
            sign, said = verdict(seeds, *examples, self.margin, p if named else seeds.p)
            rows.append((
                0, what, method, seeds.n, minus, mean, *seeds.interval, seeds.p, p,
                seeds.p_equivalent, *examples[0], said, sign != 0, not named,
            ))  # fmt: skip
        keys = pd.DataFrame({"setting": [self.about["setting"]]})
        return columns.frame("differences", rows, keys)

    def _difference(
        self, method: str, minus: str, what: str
    ) -> tuple[float, Paired, tuple[Interval, Interval]]:
        """Mean, what common seeds say, and the 95 % and 90 % intervals over dev examples."""
        ends = [self.values[what][name].to_numpy(float) for name in (method, minus)]
        common = ~np.isnan(ends[0]) & ~np.isnan(ends[1])
        seeds = statistics.paired((ends[0] - ends[1])[common], self.margin)
        mean = seeds.mean if seeds.n > 1 else float(np.nanmean(ends[0]) - np.nanmean(ends[1]))
        known, means = self._resampled[what], []
        for name, values in zip((method, minus), ends, strict=True):
            used = self.values[what].index[common if seeds.n else ~np.isnan(values)]
            if not all((name, seed) in known for seed in used):
                return mean, seeds, (Interval(), Interval())
            means.append(np.mean([known[name, seed] for seed in used], axis=0))
        return mean, seeds, percentiles(means[0] - means[1])

    def against(self, baseline: str) -> pd.DataFrame:
        """The frame ``differences`` of every other method and a baseline, named beforehand."""
        contrasts = ((m, baseline, SCORE) for m in self.methods if m != baseline)
        return self.differences(contrasts, named=True)

    def baseline(self, name: str | None = None) -> str:
        """The method that others are held against: a name's; or round-robin, or the first."""
        if name is not None:
            return self.find(name)[0]
        plain = [m for m in self.trained if self.kinds[m].sampler in ("rr", "single")]
        return (plain or self.trained or self.methods)[0]

    def same_device(self, *methods: str) -> bool:
        """Whether all their runs ran on one device, so that times may be compared."""
        return len({device for m in methods for device in self.of(m)["device"]}) == 1

    def time_ratio(self, method: str, other: str) -> float:
        """Minutes per epoch of a ``method`` by the ``other``'s; NaN where they do not compare."""
        ours, theirs = (float(self.of(m)["minutes"].mean()) for m in (method, other))
        return ours / theirs if self.same_device(method, other) and ours * theirs else np.nan

    def is_faster(self, method: str, other: str) -> bool:
        """Whether a ``method`` needs clearly less time than the ``other``, and not by chance."""
        ratio = self.time_ratio(method, other)
        if np.isnan(ratio) or ratio >= WORTH:
            return False
        ours, theirs = (self.of(m).set_index("seed")["minutes"] for m in (method, other))
        by_seed = np.log((ours / theirs).dropna().to_numpy(float))
        return bool(statistics.paired(by_seed, self.margin).interval.high < 0)

    @cached_property
    def means(self) -> pd.DataFrame:
        """Each method's mean score and minutes, with NAME_sd; numbers trained, seeds, devices."""
        runs = self.frames.runs.astype({"method": str}).groupby("method")
        numbers = runs[["score", "minutes"]]
        return numbers.mean().join(numbers.std().add_suffix("_sd")).assign(
            trained=runs["trained"].mean().astype(float), seeds=runs.size().astype("Int64"),
            device=runs["device"].agg(lambda own: "; ".join(sorted(set(own)))),
        ).loc[self.methods]  # fmt: skip

    def leaderboard(self, baseline: str | None = None) -> pd.DataFrame:
        """The frame ``leaderboard``: every method, the highest score first.

        Also ``TASK.value`` and ``TASK.value_sd`` for each task.
        """
        base = self.baseline(baseline)
        units, values, low, high = (
            self.frames.scores.astype({"method": str}).pivot_table(name, "method", "task")
            for name in ("unit", "value", "lowest", "highest")
        )
        # Δm (Maninis et al., CVPR 2019): the mean gain over models of one task each.
        single = [m for m in self.trained if self.kinds[m].sampler == "single"]
        alone = values.reindex([min(single, key=len)] if single else [""]).iloc[0]
        signs = 2 * (high > low) - 1  # -1 where less is better
        missed = {m: [t for t in self.tasks if all(t in own for own in self.of(m)["unlearned"])]
                  for m in self.methods}  # fmt: skip
        found = self.means.rename_axis("method").assign(
            unlearned=pd.Series({m: ", ".join(tasks) or None for m, tasks in missed.items()}),
            setting=self.about["setting"], baseline=base,
            worst_task=units.idxmin(axis=1), worst=units.min(axis=1),
            time_ratio=pd.Series({m: self.time_ratio(m, base) for m in self.methods}),
            delta_m=(signs * (values / alone.where(alone > 0) - 1)).mean(axis=1, skipna=False),
            trained_per_task=self.means["trained"] / len(self.tasks),
        )  # fmt: skip
        judged = self.against(base).astype({"method": str}).set_index("method")
        found = found.join(judged[judged.columns.difference(found.columns)])
        found.loc[base, "verdict"] = "baseline"
        found = found[[name for name in columns.names("leaderboard") if name != "method"]]
        more = {f"{task}.value{end}": getattr(self.values[task], how)()
                for task in self.tasks for end, how in (("", "mean"), ("_sd", "std"))}  # fmt: skip
        found = found.join(pd.DataFrame(more).reindex(self.methods)).reset_index()
        return found.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def elsewhere(self) -> str:
        """Say, after a space, which methods' minutes are of another device than most."""
        devices = self.means["device"]
        others = devices.index[devices != devices.mode()[0]]
        said = f" Minutes compare on one device only; another had {listed(others)}."
        return said * bool(len(others))

    def unlearned(self) -> str:
        """The tasks that no method has learned, in a sentence."""
        runs = self.frames.runs["unlearned"]
        tasks = [task for task in self.tasks if all(task in own for own in runs)]
        return f"Nothing has learned {listed(tasks)}: one answer for all is as good." * bool(tasks)

    def recommend(self) -> str:
        """Which method to use, in a sentence that says how sure that is."""
        mean = self.values[SCORE].mean()
        ranked = sorted(self.trained, key=lambda m: -mean[m])
        if len(ranked) < 2:
            only = f"{ranked[0]} is the only method" if ranked else "No method was trained"
            return f"{only}: there is nothing to compare."
        best, *others = ranked
        judged = self.differences(((best, m, SCORE) for m in others), named=False)
        said = dict(zip(others, judged["verdict"], strict=True))
        lead = f"{best} has the highest score ({write('score', mean[best])})"
        few = [m for m in others if said[m].startswith("unknown")]
        if few == others:
            advice = ": run at least three seeds of each" * ("seed" in said[others[0]])
            return f"{lead}, but nothing is decided ({said[others[0]]}){advice}."
        if above := next((m for m in others if said[m] == LOWER), None):
            return f"{lead}, but with their common seeds {above} is higher: run the same of both."
        more = f" Of {listed(few)} too little is known." * bool(few)
        ratio = {m: self.time_ratio(m, best) for m in others}
        faster = sorted((m for m in others if self.is_faster(m, best)), key=lambda m: ratio[m])
        rest = [m for m in others if said[m] == NOT_SIGNIFICANT]
        equal = [m for m in (*faster, *others) if said[m] == EQUIVALENT]
        if equal and (equal[0] in faster or not rest):
            use, slow = (equal[0], best) if equal[0] in faster else (best, equal[0])
            time = write("time_ratio", self.time_ratio(use, slow))
            saved = f"{use} takes {time} of the time: use {use}"
            if not self.is_faster(use, slow):
                saved = f"neither is known to be faster: use {best}"
            return f"{best} and {equal[0]} are equivalent within {self.margin:g}; {saved}.{more}"
        if not rest:
            return f"Use {best}: its score is significantly higher than every other's.{more}"
        near = rest if len(rest) < 4 else [*rest[:2], f"{len(rest) - 2} others"]
        also = f"; none is known to be much faster: use {best}, or"
        if cheap := next((m for m in faster if m in rest), None):
            also = f"; {cheap} takes {write('time_ratio', ratio[cheap])} of its time: to decide,"
        return f"{lead}, but not significantly above {listed(near)}{also} run more seeds.{more}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def compared(source: Compared, setting: str = "A", margin: float = MARGIN) -> Comparison:
    """The methods of a setting, if they are not compared already."""
    return source if isinstance(source, Comparison) else Comparison(source, setting, margin=margin)


def compare(
    source: Source | Frames, first: str, second: str, setting: str = "A", margin: float = MARGIN
) -> pd.DataFrame:
    """The frame ``differences``, the first methods minus the second: the score, then every task.

    Args:
        source: folders of runs, or the frames of some.
        first: a method by its name, its sampler's or a part of it; several may be meant.
        second: the same of the other.
        setting: the letter of what the runs have in common.
        margin: within which two methods count as equivalent.
    """
    c = compared(source, setting, margin)
    pairs = [(a, b) for a, b in product(c.find(first), c.find(second)) if a != b]
    scores = c.differences([(*pair, SCORE) for pair in pairs], named=True)
    tasks = c.differences([(*pair, task) for pair in pairs for task in c.tasks], named=False)
    return pd.concat([scores, tasks], ignore_index=True)
