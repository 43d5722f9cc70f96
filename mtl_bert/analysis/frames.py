"""Finished runs as tidy pandas frames; :mod:`~mtl_bert.analysis.columns` documents every column.

runs = read("runs").runs
runs.groupby("method")["score"].agg(["mean", "std", "size"])
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import combinations
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd
from pydantic import ValidationError

from mtl_bert.analysis import columns, paper
from mtl_bert.analysis.methods import Method, method_of, setting_of
from mtl_bert.runs.results import RESULTS, Results, RunFolder
from mtl_bert.utils.errors import UserError

MADE_UP = "Made-up text: these numbers say that the program works, never what a method is worth."
ANOTHER = (
    "Data, encoder or batches are not the paper's: a difference to its numbers is not an error of "
    "reproduction but another experiment."
)
LEFT_OUT = "(left out)"  # in place of a text that no reader may see
WHOLE = "all"  # the part of the encoder that is all of it
KEYS = list(columns.KEYS)
Source = str | Path | pd.DataFrame
Records = dict[str, list[tuple[Any, ...]]]
PER_RUN = ("scores", "epochs", "phases", "conflicts", "influences")


class UnusableError(ValueError):
    """A file of a run that cannot be used, and why."""


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of some runs.

    Attributes:
        runs, settings, scores, epochs, phases, conflicts, influences: see the reference of frames.
        methods: run -> its method, as its settings say it.
        warnings: a line for each file that was left out.
        texts: whether readers may see the examples' texts.
        kept: comparisons that were made of them.
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
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def only(self, runs: pd.DataFrame) -> "Frames":
        """The same of some rows of ``runs``, with the names that these have there."""
        own = {key: runs[key].astype(str).to_list() for key in ("run", "setting", "method")}
        keys = {k: dict(zip(own["run"], own[k], strict=True)) for k in ("setting", "method")}
        chosen: dict[str, Any] = {}
        for name in ("settings", *PER_RUN):
            found = self.runs if name == "settings" else getattr(self, name)
            found = found[found["run"].isin(list(keys["setting"]))]
            names = found["run"].astype(str)
            now = {key: names.map(keys[key]).astype(runs[key].dtype) for key in keys}
            chosen[name] = found.assign(**now)
        letters = dict(zip(self.runs.loc[chosen["settings"].index, "setting"].astype(str),
                           chosen["settings"]["setting"], strict=True))  # fmt: skip
        settings = self.settings[self.settings["setting"].isin(list(letters))]
        chosen["settings"] = settings.assign(setting=settings["setting"].astype(str).map(letters))
        return replace(self, runs=runs, kept={}, **chosen)

    def of(self, setting: str) -> tuple["Frames", pd.Series]:
        """A setting's runs that count, and its row of ``settings``."""
        runs = self.runs[(self.runs["setting"] == setting) & ~self.runs["superseded"]]
        return self.only(runs), self.settings[self.settings["setting"] == setting].iloc[0]

    def answers(self, run: str, task: str, *, texts: bool = True) -> pd.DataFrame:
        """A run's answers to a task's dev set, with texts only where they may be seen.

        Columns: id, text (and text2 of pairs), label, prediction, confidence.

        Raises:
            UnusableError: the file is missing or damaged.
        """
        directory = self.runs.loc[self.runs["run"] == run, "directory"].iloc[0]
        found = _read_answers(RunFolder(Path(directory)).predictions(task))
        if texts and self.texts:
            return found
        return found.drop(columns="text2", errors="ignore").assign(text=LEFT_OUT)

    def predictions(self) -> pd.DataFrame:
        """Every run's answers to all dev sets; files that cannot be used are left out."""
        parts = [columns.frame("predictions", [], self.runs[KEYS])]
        for row in self.scores.to_dict("records"):
            with suppress(UnusableError):
                found = self.answers(row["run"], row["task"])
                keys = {key: row[key] for key in (*KEYS, "task")}
                off = (found["label"] - found["prediction"]).abs()
                parts.append(found.assign(**keys, error=off))
        whole = pd.concat(parts, ignore_index=True)[columns.names("predictions")]
        return whole.astype(dict.fromkeys((*KEYS[:3], "task"), "category"))


def read(*sources: Source | Frames) -> Frames:
    """Read all runs below some directories, or those of a frame of runs.

    Args:
        sources: directories; or one frame of runs, some rows of ``runs`` perhaps, which stay as
            they are; or what was read before.

    Raises:
        UserError: a directory that is none.
    """
    first = sources[0] if sources else None
    if isinstance(first, Frames):
        return first
    if isinstance(first, pd.DataFrame):
        places = zip(map(Path, first["directory"]), first["run"].astype(str), strict=True)
        return _frames(list(places)).only(first)
    return _frames(_find([Path(source) for source in sources if isinstance(source, str | Path)]))


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


def of_results(results: Results, directory: Path) -> Frames:
    """The frames of a run that is under way: its results so far, and its answers in its folder."""
    return _frames([(directory, directory.name)], results)


def _frames(places: Sequence[tuple[Path, str]], so_far: Results | None = None) -> Frames:
    """The frames of the runs in some directories, which have names."""
    runs: dict[str, _Run] = {}
    records: Records = {name: [] for name in columns.FRAMES}
    warnings = []
    for directory, name in places:
        try:
            run = _Run(so_far or RunFolder(directory).read_results(), directory)
            own = run.records(len(runs))
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as e:
            warnings.append(
                f"{directory / RESULTS}: expected the results of a finished run, found something "
                f"else ({_first(e)}); left out"
            )
            continue
        runs[name if name not in runs else f"{name} ({len(runs)})"] = run
        for frame, rows in own.items():
            records[frame] += rows
    methods = {name: run.method for name, run in runs.items()}
    called, letters = _method_names(methods.values()), _letters([r.setting for r in runs.values()])
    named = {
        "run": (list(runs), list(runs)),
        "setting": ([letters[run.setting] for run in runs.values()], list(letters.values())),
        "method": ([called[run.method] for run in runs.values()], list(called.values())),
    }
    keys = pd.DataFrame({key: pd.Categorical(*each) for key, each in named.items()})
    keys["seed"] = pd.Series([run.results.seed for run in runs.values()], dtype="Int64")
    names = ("runs", *PER_RUN)
    made: dict[str, Any] = {name: columns.frame(name, records[name], keys) for name in names}
    by_time = made["runs"].sort_values("finished", kind="stable")
    made["runs"]["superseded"] = by_time.duplicated([*KEYS[1:], "epochs"], keep="last")
    made["settings"] = _settings(made["runs"], records, keys)
    return Frames(**made, methods=methods, warnings=tuple(warnings))


def _first(error: Exception) -> str:
    """The gist of an error, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    text = " ".join(str(error).split())
    return f"no {text}" if isinstance(error, KeyError) else text or type(error).__name__


class _Run:
    """A run while it is taken apart into rows."""

    def __init__(self, results: Results, directory: Path) -> None:
        self.results, self.directory = results, directory
        config = results.config
        self.method = method_of(config)
        self.words = setting_of(results)
        self.setting = json.dumps(self.words, sort_keys=True)
        if other := set(results.tasks) ^ set(config["tasks"]):
            raise KeyError(f"tasks.{min(other)}")
        self.name = self.method.short()
        self.tasks = tuple(sorted(results.tasks, key=[*paper.TITLES, *results.tasks].index))
        ranges = {t: config["tasks"][t].get("score", {}) for t in self.tasks}
        self.range = {
            t: (float(r.get("low", 0)), float(r.get("high", 1))) for t, r in ranges.items()
        }

    def unit(self, task: str, value: float) -> float:
        low, high = self.range[task]
        return (value - low) / (high - low)

    def records(self, number: int) -> Records:
        """Its rows of every frame, each led by the run's number."""
        found: Records = {
            "runs": [self._row()],
            "settings": [self._about()],
            "scores": [self._score(task) for task in self.tasks],
            "epochs": list(self._epochs()),
            "phases": list(self._phases()),
            "conflicts": list(self._conflicts()),
            "influences": list(self._influences()),
        }
        for row in (row for rows in found.values() for row in rows):
            for value in row:
                if type(value) is int and not -(2**63) <= value < 2**63:
                    raise ValueError(f"{str(value)[:20]}… is no number of anything")
        return {name: [(number, *row) for row in rows] for name, rows in found.items()}

    def _row(self) -> tuple[Any, ...]:
        r, m, config = self.results, self.method, self.results.config
        trainer, data = config["trainer"], config["data"]
        units = {t: self.unit(t, r.tasks[t].value) for t in self.tasks}
        worst = min(units, key=units.__getitem__)
        flags = {flag for flag, _ in self.badges}
        imbalance = data.get("imbalance")
        return (
            m.sampler, m.B, m.B_scale, m.drawn, m.lambda_, m.lambda_on, " ".join(m.frozen),
            m.surgery, m.rest, int(config["epochs"]), r.score, r.last.score,
            r.untrained and r.untrained.score, r.best_epoch, r.last_epoch, worst, units[worst],
            r.minutes_per_epoch, r.device, r.encoder, r.data.name, r.data.synthetic,
            "partial" in flags, "contaminated" in flags, self.like_the_paper, False, r.commit or "",
            r.finished.astimezone(UTC), r.overrides,
            int(trainer["devices"]) * int(trainer["num_nodes"]), int(config["batch_size"]),
            _whole(config["group_by_length"]), None if imbalance is None else float(imbalance),
            r.dev_sample, len(r.skipped), r.overflows, r.notes, r.versions, str(self.directory),
        )  # fmt: skip

    @property
    def papers_tasks(self) -> bool:
        """Whether tasks and metrics are the paper's, all of them and no other."""
        return {t: s.metric for t, s in self.results.tasks.items()} == paper.METRICS

    @property
    def like_the_paper(self) -> bool:
        """Whether the paper's numbers are of the same experiment."""
        r = self.results
        same_sizes = self.papers_tasks and all(
            r.data.sizes[t].get("train") == size.train and r.tasks[t].n == size.dev
            for t, size in paper.SIZES.items()
        )
        same_model = r.encoder == paper.ENCODER and r.config["group_by_length"] is None
        return bool(same_sizes and same_model and not self.badges)

    @property
    def badges(self) -> list[tuple[str, str]]:
        """What no reader may overlook: a word for it, and what it is about."""
        data, config = self.results.data, self.results.config["data"]
        found = [("synthetic", "made-up text")] if data.synthetic else []
        partial = []
        if self.papers_tasks:
            sizes = {t: (data.sizes[t].get("train", 0), s.train) for t, s in paper.SIZES.items()}
            dev = {t: (self.results.tasks[t].n, s.dev) for t, s in paper.SIZES.items()}
            for name, each in (("training", sizes), ("dev", dev)):
                less = [f"{t} {n:,} of {whole:,}" for t, (n, whole) in each.items() if n < whole]
                partial += [f"{name} sets: {', '.join(less)}"] if less else []
        else:
            cut = {k: config.get(k) for k in ("share", "limit", "dev_limit", "imbalance")}
            partial = [f"data.{k}={v}" for k, v in cut.items() if v not in (None, 1)]
        found += [("partial", "; ".join(partial))] if partial else []
        seen = [f"{task} ({', '.join(sets)})" for task, sets in data.seen.items() if sets]
        if seen:
            found.append(("contaminated", f"the encoder was trained before on {', '.join(seen)}"))
        return found

    def _about(self) -> tuple[Any, ...]:
        """A setting's row but for title, slug, epochs and runs, which come of all its runs."""
        words = [f"data={self.results.data.name}"]
        words += [f"{flag.upper()}: {what}" for flag, what in self.badges]
        words.append(f"encoder {self.results.encoder}")
        if (bucket := self.results.config["group_by_length"]) is not None:
            words.append(f"batches of like length (group_by_length={bucket})")
        caution = [MADE_UP] if self.results.data.synthetic else []
        caution += [ANOTHER] if self.papers_tasks and not self.like_the_paper else []
        alike = json.loads(self.setting)
        alike["sizes"] = {t: sizes.get("dev") for t, sizes in alike["sizes"].items()}
        serial = alike["data"].pop("imbalance", None) is not None
        text = json.dumps(alike, sort_keys=True).encode()
        series = hashlib.blake2b(text, digest_size=6).hexdigest() if serial else ""
        return ("", "", "; ".join(words), " ".join(caution), tuple(self.badges), self.papers_tasks,
                self.tasks, 0, 0, self.words, series)  # fmt: skip

    def _score(self, task: str) -> tuple[Any, ...]:
        r, own = self.results, self.results.tasks[task]
        sizes, used = r.data.sizes.get(task, {}), r.utilisation.get(task)
        head = r.config["tasks"][task].get("head")
        classes, scale = answer_form(head if isinstance(head, dict) else {})
        untrained = r.untrained and r.untrained.tasks.get(task)
        return (
            task, own.metric, own.value, self.unit(task, own.value), own.n, *self.range[task],
            untrained and untrained.value, r.last.tasks[task].value, sizes.get("train"),
            sizes.get("dev"), ", ".join(r.data.seen.get(task, ())), classes, scale,
            r.data.train_labels.get(task), *_usage(used, sizes.get("train")),
        )  # fmt: skip

    def _epochs(self) -> Iterator[tuple[Any, ...]]:
        seen = 0
        for e in self.results.epochs:
            seen += sum(phase.examples for phase in e.phases)
            for task in self.tasks:
                score = (e.tasks or {}).get(task)
                train = self.results.data.sizes.get(task, {}).get("train")
                yield (
                    e.epoch, task, score and score.value, score and score.n, train,
                    *_usage(e.utilisation.get(task), train), e.score, e.losses.get(task), e.seconds,
                    e.validation_seconds, seen,
                )  # fmt: skip

    def _phases(self) -> Iterator[tuple[Any, ...]]:
        for e in self.results.epochs:
            for p in e.phases:
                c = p.conflicts if p.conflicts and p.conflicts.pairs else None
                what = (c.several, c.conflicting, c.removed) if c else (0, None, None)
                yield e.epoch, p.name, p.examples, p.seconds, p.steps, *what

    def _conflicts(self) -> Iterator[tuple[Any, ...]]:
        """Pairs by the tasks' order, whatever order the run had."""
        for e in self.results.epochs:
            for p in e.phases:
                whole = {WHOLE: p.conflicts.pairs} if p.conflicts else {}
                for part, pairs in (whole | p.layers).items():
                    for a, b in combinations(self.tasks, 2):
                        c = pairs.get(f"{a}/{b}") or pairs.get(f"{b}/{a}")
                        if c and c.steps:
                            met = (c.steps, c.conflicting, c.cosine)
                            yield (e.epoch, p.name, part, f"{a}/{b}", *met)

    def _influences(self) -> Iterator[tuple[Any, ...]]:
        for e in self.results.epochs:
            for p in e.phases:
                c = p.conflicts
                for task in self.tasks if c else ():
                    if c and (i := c.tasks.get(task)) and i.steps:
                        steps = (i.steps, c.steps, c.several if c.pairs else 0)
                        yield (e.epoch, p.name, task, *steps, i.norm, i.share, i.before, i.after)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _usage(used: Any, train: int | None) -> tuple[Any, ...]:
    """The columns examples, unique, fraction, repeats and effective_epochs."""
    if used is None:
        return (None,) * 5
    fraction, effective = (n / train if train else None for n in (used.unique, used.examples))
    return used.examples, used.unique, fraction, used.examples - used.unique, effective


def answer_form(head: Mapping[str, Any]) -> tuple[Any, Any]:
    """The classes' names or the scale's ends of a task's answers; neither where not known here."""
    kind = str(head.get("_target_", "")).rpartition(".")[2]
    if kind in ("MultiClass", "Binary"):
        return tuple(map(str, head.get("names") or ("no", "yes"))), None
    ends = (float(head["low"]), float(head["high"])) if kind == "Regression" else None
    return None, ends


def _method_names(methods: Iterable[Method]) -> dict[Method, str]:
    """A short name for each, in order; the whole one where two would share the short one."""
    distinct = sorted(set(methods), key=Method.order)
    shared = Counter(method.short() for method in distinct)
    return {m: m.short() if shared[m.short()] == 1 else m.label for m in distinct}


def _letters(settings: Sequence[str]) -> dict[str, str]:
    """A letter for each setting; that with most runs comes first."""
    counts = Counter(settings)
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return {key: chr(65 + n) if n < 26 else str(n + 1) for n, key in enumerate(ordered)}


def _settings(runs: pd.DataFrame, records: Records, keys: pd.DataFrame) -> pd.DataFrame:
    """A row for each setting, told apart by what they differ in."""
    found = columns.frame("settings", records["settings"], keys[["setting"]])
    found = found.drop_duplicates("setting").sort_values("setting").reset_index(drop=True)
    counting = runs[~runs["superseded"]]
    several = counting[(counting["epochs"] > 1) & (counting["last_epoch"] > 0)]
    for place, row in found.iterrows():
        own = several.loc[several["setting"] == row["setting"], "epochs"].value_counts()
        most = [int(epochs) for epochs, count in own.items() if count == own.max()]
        found.loc[place, "main_epochs"] = max(most, default=1)
        found.loc[place, "runs"] = int((counting["setting"] == row["setting"]).sum())
        lead = (row["words"]["data"]["name"], row["words"]["encoder"])
        same = [w for w in found["words"] if (w["data"]["name"], w["encoder"]) == lead]
        # Sizes mostly follow from the rest.
        own = {**row["words"], "tasks": ", ".join(row["tasks"])}
        apart = _differing(own, [{**w, "tasks": ", ".join(w["tasks"])} for w in same])
        apart = apart or _differing(row["words"]["sizes"], [w["sizes"] for w in same])
        found.loc[place, "title"] = ", ".join((*lead, *apart))
        found.loc[place, "slug"] = f"{row['setting'].lower()}-{file_name(lead[0])}"
    return found


def _differing(own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the one has and some other has not."""
    flat = [_flat({k: v for k, v in words.items() if k != "sizes"}) for words in (own, *others)]
    return [f"{k}={v}" for k, v in flat[0].items() if any(each.get(k) != v for each in flat)]


def _flat(tree: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys and their values; not again what repeats another, as optimizer.lr does lr."""
    (flat,) = pd.json_normalize(dict(tree)).to_dict("records")
    found: dict[str, str] = {}
    for key, value in flat.items():
        if value is not None and found.get(str(key).rpartition(".")[2]) != str(value):
            found[str(key)] = str(value)
    return found


def file_name(text: str) -> str:
    """A name from data, made fit for a file and an anchor."""
    return re.sub(r"[^\w-]+", "-", text)[:120]


_TEXTS, _NUMBERS = ("text", "text2"), ("label", "prediction", "confidence")


def _read_answers(path: Path) -> pd.DataFrame:
    types = dict.fromkeys(("id", *_TEXTS), "str") | dict.fromkeys(_NUMBERS, "float")
    try:
        with catch_warnings():
            simplefilter("error", pd.errors.ParserWarning)  # rows longer than the heading
            rows = pd.read_csv(path, dtype=types, keep_default_na=False, index_col=False,
                               na_values={"confidence": [""]})  # fmt: skip
    except FileNotFoundError as error:
        raise UnusableError(f"{path.name} is missing") from error
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UnusableError(f"{path.name} cannot be read ({_first(error)})") from error
    if absent := {"id", "text", *_NUMBERS} - set(rows):
        raise UnusableError(f"{path.name} has no column {', '.join(sorted(absent))}")
    if rows.empty or not np.isfinite(rows["label"]).all():
        raise UnusableError(f"{path.name} has no labels to compare with")
    return rows
