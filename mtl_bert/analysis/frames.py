"""Finished runs as tidy pandas frames; :mod:`~mtl_bert.analysis.columns` documents every column.

runs = read("runs").runs
runs.groupby("method")["score"].agg(["mean", "std", "size"])
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl_bert.analysis import columns, paper
from mtl_bert.runs.answers import LEFT_OUT, UnusableError, read_compared
from mtl_bert.runs.methods import Method, method_of, setting_of
from mtl_bert.runs.results import RESULTS, PhaseRecord, Results, RunFolder
from mtl_bert.tasks.resampled_metrics import Floats
from mtl_bert.utils.errors import UserError, first_line

MADE_UP = "Made-up text: these numbers say that the program works, never what a method is worth."
ANOTHER = (
    "Data, encoder or batches are not the paper's: a difference to its numbers is not an error of "
    "reproduction but another experiment."
)
WHOLE = "all"  # the part of the encoder that is all of it
UNSET = "None"
TUNED = ("lr", "optimizer", "scheduler")  # what may be tuned for each method
KEYS = list(columns.KEYS)
PER_RUN = ("scores", "epochs", "phases", "conflicts", "influences")
Source = str | Path | pd.DataFrame
Row = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of some runs; docs/reference/frames.md has their columns.

    Attributes:
        runs, settings, scores: a row for each run, each setting that runs share, and each task of
            a run.
        epochs, phases, conflicts, influences: a row for each epoch, each phase of one, each pair of
            tasks in a phase, and each task in a phase.
        methods: run -> its method, as its settings say it.
        warnings: a line for each file that was left out.
        texts: whether readers may see the examples' texts.
    """

    runs: pd.DataFrame
    settings: pd.DataFrame
    scores: pd.DataFrame
    epochs: pd.DataFrame
    phases: pd.DataFrame
    conflicts: pd.DataFrame
    influences: pd.DataFrame
    methods: Mapping[str, Method]
    warnings: tuple[str, ...] = ()
    texts: bool = True

    def only(self, runs: pd.DataFrame) -> "Frames":
        """All frames of some rows of ``runs``."""
        parts: dict[str, pd.DataFrame] = {name: getattr(self, name) for name in PER_RUN}
        chosen: Any = {name: part[part["run"].isin(runs["run"])] for name, part in parts.items()}
        settings = self.settings[self.settings["setting"].isin(runs["setting"])]
        return replace(self, runs=runs, settings=settings, **chosen)

    def of(self, setting: str) -> tuple["Frames", pd.Series]:
        """A setting's runs that count, and its row of ``settings``."""
        runs = self.runs[(self.runs["setting"] == setting) & ~self.runs["superseded"]]
        return self.only(runs), self.settings[self.settings["setting"] == setting].iloc[0]

    def answers(self, run: str, task: str) -> pd.DataFrame:
        """A run's answers to a task's dev set, with texts only where they may be seen.

        Columns: id, text (and text2 of pairs), label, prediction, confidence.

        Raises:
            UnusableError: the file is missing or damaged.
        """
        found, labels, predictions = self._file(run, task)
        if labels.ndim > 1:
            raise UnusableError(f"{task}.csv cannot be read (several labels at once)")
        found = found.assign(label=labels, prediction=predictions)
        if self.texts:
            return found
        return found.drop(columns="text2", errors="ignore").assign(text=LEFT_OUT)

    def compared(self, run: str, task: str) -> tuple[Sequence[str], Floats, Floats]:
        """A run's answers to N examples of a task's dev set, whatever a label is.

        Returns:
            The examples' ids, the labels and the predictions: [N] each, or of several labels at
            once [N, C].

        Raises:
            UnusableError: the file is missing or damaged.
        """
        found, labels, predictions = self._file(run, task)
        return found["id"].tolist(), labels, predictions

    def _file(self, run: str, task: str) -> tuple[pd.DataFrame, Floats, Floats]:
        """A run's file of answers to a task's dev set, its labels and its predictions."""
        (place,) = self.runs.loc[self.runs["run"] == run, "directory"]
        return read_compared(RunFolder(Path(place)).predictions(task))

    def predictions(self) -> pd.DataFrame:
        """Every run's answers to all dev sets; files that cannot be used are left out."""
        parts = [columns.frame("predictions", [], self.runs[KEYS])]
        for row in self.scores[[*KEYS, "task"]].to_dict("records"):
            with suppress(UnusableError):
                found = self.answers(row["run"], row["task"])
                off = (found["label"] - found["prediction"]).abs()
                parts.append(found.assign(error=off, **{str(k): v for k, v in row.items()}))
        whole = pd.concat(parts, ignore_index=True)[columns.names("predictions")]
        return whole.astype(dict.fromkeys((*KEYS[:3], "task"), "category"))


def read(*sources: Source | Frames, tuned: Sequence[str] = ()) -> Frames:
    """Read all runs below some directories, or those of a frame of runs, whose rows stay.

    Args:
        sources: directories, or a frame of runs, or frames, which are given back.
        tuned: settings such as ``lr`` that were chosen for each method: runs that differ in them
            are compared all the same.

    Raises:
        UserError: a directory that is none, or a method with several values of what was tuned.
    """
    first = sources[0] if sources else None
    if isinstance(first, Frames):
        return first
    if isinstance(first, pd.DataFrame):
        places = [*zip(map(Path, first["directory"]), first["run"].astype(str), strict=True)]
        return replace(_frames(places, tuned=tuned, named=first), runs=first)
    places = _find([Path(source) for source in sources if isinstance(source, str | Path)])
    return _frames(places, tuned=tuned)


def of_results(results: Results, directory: Path) -> Frames:
    """The frames of a run that is under way: its results so far, and its answers in its folder."""
    return _frames([(directory, directory.name)], results)


def _find(roots: Sequence[Path]) -> list[tuple[Path, str]]:
    """Directories with results, each once, and the names of their runs."""
    found: dict[Path, tuple[Path, str]] = {}
    for root in roots:
        if not root.is_dir():
            raise UserError(
                f"runs: expected a directory with runs, found no such directory ({root}); "
                "write for example runs"
            )
        lead = f"{root.resolve().name}/" if len(roots) > 1 else ""
        for path in sorted(root.rglob(RESULTS)):
            name = path.parent.relative_to(root).as_posix()
            name = lead + name if name != "." else root.resolve().name
            found.setdefault(path.resolve(), (path.parent, name))
    return list(found.values())


def _frames(
    places: Sequence[tuple[Path, str]], so_far: Results | None = None, tuned: Sequence[str] = (),
    named: pd.DataFrame | None = None,
) -> Frames:  # fmt: skip
    """The frames of the runs in some directories, which have names; ``named`` has all keys."""
    if unknown := set(tuned) - set(TUNED):
        raise UserError(
            f"--tuned: expected settings of {', '.join(TUNED)}, found {min(unknown)}; leave it out"
        )
    runs: dict[str, _Run] = {}
    records: dict[str, list[Row]] = {name: [] for name in columns.FRAMES}
    warnings = []
    for directory, name in places:
        try:
            run = _Run(so_far or RunFolder(directory).read_results(), directory, tuned)
            rows = [(frame, (len(runs), *map(_sane, row))) for frame, row in run.rows()]
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as e:
            warnings.append(
                f"{directory / RESULTS}: expected the results of a finished run, found something "
                f"else ({first_line(e)}); left out"
            )
            continue
        for frame, row in rows:
            records[frame].append(row)
        runs[name if name not in runs else f"{name} ({len(runs)})"] = run
    keys = _keys(runs) if named is None else named[KEYS][named["run"].isin(runs)]
    made: dict[str, Any] = {
        name: columns.frame(name, records[name], keys) for name in ("runs", *PER_RUN)
    }
    by_time = made["runs"].sort_values("finished", kind="stable")
    made["runs"]["superseded"] = by_time.duplicated([*KEYS[1:], "epochs"], keep="last")
    settings = columns.frame("settings", records["settings"], keys[["setting"]])
    settings = _completed(settings, made["runs"])
    methods = {name: run.method for name, run in runs.items()}
    return Frames(settings=settings, methods=methods, warnings=tuple(warnings), **made)


def _keys(runs: Mapping[str, "_Run"]) -> pd.DataFrame:
    """Every run's keys: the setting with most runs is the first; methods have short names."""
    usual: dict[tuple[str, Method], dict[str, Any]] = {}
    for run in runs.values():
        known = usual.setdefault((run.setting, run.method), run.tuned)
        if other := [name for name in known if known[name] != run.tuned[name]]:
            raise UserError(
                f"--tuned: expected one {other[0]} for each method, found {known[other[0]]} and "
                f"{run.tuned[other[0]]} of {run.method.short()}; report on the chosen runs alone"
            )
    # A short name for each method; the whole one where two would share the short one.
    distinct = sorted({run.method for run in runs.values()}, key=Method.order)
    shared = Counter(method.short() for method in distinct)
    called = {m: m.short() if shared[m.short()] == 1 else m.label for m in distinct}
    counts = Counter(run.setting for run in runs.values())
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    letters = {key: chr(65 + n) if n < 26 else str(n + 1) for n, key in enumerate(ordered)}
    return pd.DataFrame({
        "run": pd.Categorical(list(runs), list(runs)),
        "setting": pd.Categorical([letters[run.setting] for run in runs.values()],
                                  list(letters.values())),
        "method": pd.Categorical([called[run.method] for run in runs.values()],
                                 list(called.values())),
        "seed": pd.Series([run.results.seed for run in runs.values()], dtype="Int64"),
    })  # fmt: skip


def _sane(value: Any) -> Any:
    """The value; an OverflowError if it is a number that no frame can hold."""
    return int(np.int64(value)) if type(value) is int else value


class _Run:
    """A run while it is taken apart into rows."""

    def __init__(self, results: Results, directory: Path, tuned: Sequence[str]) -> None:
        self.results, self.directory, self.config = results, directory, results.config
        self.method, self.words = method_of(self.config), setting_of(results, without=tuned)
        self.tuned = {name: self.config[name] for name in tuned}
        self.setting = json.dumps(self.words, sort_keys=True)
        if other := set(results.tasks) ^ set(self.config["tasks"]):
            raise KeyError(f"no tasks.{min(other)}")
        self.method.short()  # fails here where its parts are no numbers or words
        self.tasks = tuple(sorted(results.tasks, key=[*paper.METRICS, *results.tasks].index))
        self.range: dict[str, tuple[float, float]] = {}  # the values that count 0 and 1
        self.units: dict[str, float] = {}
        for task in self.tasks:
            own, score = self.config["tasks"][task].get("score", {}), results.tasks[task]
            ends = float(own.get("low", 0)), float(own.get("high", 1))
            low, high = self.range[task] = ends[::-1] if score.lower_is_better else ends
            self.units[task] = (score.value - low) / (high - low)
        # Tasks and metrics are the paper's, all of them and no other.
        self.papers_tasks = {t: s.metric for t, s in results.tasks.items()} == paper.METRICS
        self.badges = tuple(self._badges())
        # Whether the paper's numbers are of the same experiment: with other sizes data are partial.
        same = results.encoder == paper.ENCODER and self.config["group_by_length"] is None
        self.like_the_paper = self.papers_tasks and not self.badges and same

    def size(self, task: str, split: str = "train") -> int | None:
        """Usable examples of a task's split."""
        return self.results.data.sizes.get(task, {}).get(split)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Its rows, each with the name of its frame."""
        yield "runs", self._run()
        yield "settings", self._about()
        yield from (("scores", self._score(task)) for task in self.tasks)
        seen = 0
        for e in self.results.epochs:
            seen += sum(phase.examples for phase in e.phases)
            for task in self.tasks:
                score = (e.tasks or {}).get(task)
                dev = (score.value, score.n) if score else (None, None)
                yield "epochs", (
                    e.epoch, task, *dev, *self._used(e.utilisation, task), e.score,
                    e.losses.get(task), e.seconds, e.validation_seconds, seen,
                )  # fmt: skip
            for p in e.phases:
                for frame, row in self._phase(p):
                    yield frame, (e.epoch, p.name, *row)

    def _phase(self, p: PhaseRecord) -> Iterator[tuple[str, Row]]:
        """What a phase says of itself, its tasks and its pairs of tasks."""
        c = p.conflicts
        joint = (c.several, c.conflicting, c.removed) if c and c.pairs else (0, None, None)
        yield "phases", (p.examples, p.seconds, p.steps, *joint)
        for task in self.tasks if c else ():
            if c and (i := c.tasks.get(task)) and i.steps:
                steps = (i.steps, c.steps, joint[0])
                yield "influences", (task, *steps, i.norm, i.share, i.before, i.after)
        for part, pairs in (({WHOLE: c.pairs} if c else {}) | p.layers).items():
            for a, b in combinations(self.tasks, 2):  # in this order, whatever the run had
                pair = pairs.get(f"{a}/{b}") or pairs.get(f"{b}/{a}")
                if pair and pair.steps:
                    met = (pair.steps, pair.conflicting, pair.cosine)
                    yield "conflicts", (part, f"{a}/{b}", *met)

    def _used(self, utilisation: Mapping[str, Any], task: str) -> Row:
        """The columns train, examples, unique, fraction, repeats and effective_epochs."""
        train = self.size(task)
        if (used := utilisation.get(task)) is None:
            return (train, *(None,) * 5)
        fraction, effective = (n / train if train else None for n in (used.unique, used.examples))
        repeats = used.examples - used.unique
        return (train, used.examples, used.unique, fraction, repeats, effective)

    def _run(self) -> Row:
        r, m, config, flags = self.results, self.method, self.config, dict(self.badges)
        trainer, worst = config["trainer"], min(self.units, key=self.units.__getitem__)
        length, imbalance = config["group_by_length"], config["data"].get("imbalance")
        return (
            m.sampler, m.B, m.B_scale, m.drawn, m.lambda_, m.lambda_on, " ".join(m.frozen),
            m.surgery, m.rest, m.adapter, r.trained, int(config["epochs"]), r.score, r.last.score,
            r.untrained and r.untrained.score, r.best_epoch, r.last_epoch, worst, self.units[worst],
            r.minutes_per_epoch, r.device, r.encoder, r.data.name, r.data.synthetic,
            "partial" in flags, "contaminated" in flags, self.like_the_paper, False, r.commit or "",
            r.finished.astimezone(UTC), r.overrides,
            int(trainer["devices"]) * int(trainer["num_nodes"]), int(config["batch_size"]),
            length and int(length), imbalance and float(imbalance), r.dev_sample, len(r.skipped),
            r.overflows, r.unlearned, r.notes, r.versions, str(self.directory),
        )  # fmt: skip

    def _badges(self) -> Iterator[tuple[str, str]]:
        """What no reader may overlook: a word for it, and what it is about."""
        r, config = self.results, self.config["data"]
        if r.data.synthetic:
            yield "synthetic", "made-up text"
        cut = {k: config.get(k) for k in ("share", "limit", "dev_limit", "imbalance")}
        partial = [f"data.{k}={v}" for k, v in cut.items() if v not in (None, 1)]
        if self.papers_tasks:
            sizes = {
                "training": [(t, self.size(t) or 0, s.train) for t, s in paper.SIZES.items()],
                "dev": [(t, r.tasks[t].n, s.dev) for t, s in paper.SIZES.items()],
            }
            less = {name: [f"{t} {n:,} of {full:,}" for t, n, full in each if n < full]
                    for name, each in sizes.items()}  # fmt: skip
            partial = [f"{name} sets: {', '.join(each)}" for name, each in less.items() if each]
        if partial:
            yield "partial", "; ".join(partial)
        if seen := [f"{task} ({', '.join(sets)})" for task, sets in r.data.seen.items() if sets]:
            yield "contaminated", f"the encoder was trained before on {', '.join(seen)}"

    def _about(self) -> Row:
        """A setting's row; what comes of all its runs is filled in by :func:`_completed`."""
        r, length = self.results, self.config["group_by_length"]
        about = [f"data={r.data.name}", *(f"{flag.upper()}: {why}" for flag, why in self.badges),
                 f"encoder {r.encoder}"]  # fmt: skip
        if length is not None:
            about.append(f"batches of like length (group_by_length={length})")
        caution = [MADE_UP] if r.data.synthetic else []
        caution += [ANOTHER] if self.papers_tasks and not self.like_the_paper else []
        alike = json.loads(self.setting)
        alike["sizes"] = {task: sizes.get("dev") for task, sizes in alike["sizes"].items()}
        serial = alike["data"].pop("imbalance", None) is not None
        text = json.dumps(alike, sort_keys=True).encode()
        series = hashlib.blake2b(text, digest_size=6).hexdigest() if serial else ""
        return ("", "", "; ".join(about), " ".join(caution), self.badges, self.papers_tasks,
                self.tasks, 0, 0, self.words, series)  # fmt: skip

    def _score(self, task: str) -> Row:
        r, own, config = self.results, self.results.tasks[task], self.config["tasks"][task]
        head, untrained = config.get("head"), r.untrained and r.untrained.tasks.get(task)
        train, *used = self._used(r.utilisation, task)
        return (
            task, own.metric, own.value, self.units[task], own.n, *self.range[task],
            float(config.get("score", {}).get("weight", 1)), own.all, own.constant,
            untrained and untrained.value, r.last.tasks[task].value, train, self.size(task, "dev"),
            ", ".join(r.data.seen.get(task, ())),
            *answer_form(head if isinstance(head, dict) else {}), r.data.train_labels.get(task),
            *used,
        )  # fmt: skip


def answer_form(head: Mapping[str, Any]) -> tuple[Any, Any]:
    """The classes' names or the scale's ends of a task's answers; neither where not known here."""
    kind = str(head.get("_target_", "")).rpartition(".")[2]
    if kind in ("MultiClass", "Binary", "SoftLabels"):
        return tuple(map(str, head.get("names") or ("no", "yes"))), None
    return None, (float(head["low"]), float(head["high"])) if kind == "Regression" else None


def _completed(settings: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each setting, with what comes of all its runs and of the other settings."""
    found = settings.drop_duplicates("setting").sort_values("setting").reset_index(drop=True)
    counting = runs[~runs["superseded"]]
    trained = counting[(counting["epochs"] > 1) & (counting["last_epoch"] > 0)]
    usual = trained.groupby("setting", observed=True)["epochs"].agg(lambda own: own.mode().max())
    letters = found["setting"].astype(str)
    found["main_epochs"] = letters.map(usual).fillna(1).astype("Int64")
    found["runs"] = letters.map(counting["setting"].value_counts()).astype("Int64")
    words = ({**each, "tasks": ", ".join(each["tasks"])} for each in found["words"])
    rows = (pd.json_normalize(each).map(str) for each in words)
    flat = pd.concat([pd.DataFrame(), *rows], ignore_index=True).fillna(UNSET)
    titles, slugs = [], []
    for letter, row in zip(letters, flat.to_dict("records"), strict=True):
        lead = [row["data.name"], row["encoder"]]
        same = flat[(flat["data.name"] == lead[0]) & (flat["encoder"] == lead[1])]
        apart = [str(key) for key in flat if same[key].nunique() > 1 and row[key] != UNSET]
        # Sizes mostly follow from the rest; and optimizer.lr from lr.
        apart = [key for key in apart if not key.startswith("sizes.")] or apart
        apart = [key for key in apart if key.rpartition(".")[2] not in apart or "." not in key]
        titles.append(", ".join([*lead, *(f"{k.removeprefix('sizes.')}={row[k]}" for k in apart)]))
        slugs.append(f"{letter.lower()}-{file_name(lead[0])}")
    return found.assign(title=pd.Series(titles, dtype=str), slug=pd.Series(slugs, dtype=str))


def file_name(text: str) -> str:
    """A name from data, made fit for a file and an anchor."""
    return re.sub(r"[^\w-]+", "-", text)[:120]
