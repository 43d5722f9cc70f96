"""The paper beside our runs: its tables, the commands for rows that are missing, and its claims.

Nothing of this is shown where tasks, metrics or methods are not its own (:func:`is_the_papers`).
"""

import re
import shlex
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl_bert.analysis import paper
from mtl_bert.analysis.columns import write
from mtl_bert.analysis.leaderboard import SCORE, Comparison, Difference
from mtl_bert.analysis.methods import LOSS, PAPER_SURGERY, Method
from mtl_bert.analysis.statistics import Floats

LEAST_SEEDS = (1, 2, 3)  # a spread needs more than one
_OWN = (
    "seed", "epochs", "sampler", "B", "B_scale", "lambda", "freeze", "surgery", "experiment",
    "hydra", "logger",
)  # fmt: skip
"""Settings that a command for a missing row says itself, or that no number depends on."""
ROUND_ROBIN = len(paper.SIZES) * min(size.train for size in paper.SIZES.values())
"""Examples of the paper's round-robin epoch."""


def run_of(comparison: Comparison, row: paper.PaperRow) -> str | None:
    """Our method that is a row of the paper; the plainest of several scales of B."""
    own = comparison.kinds
    return min(
        (m for m in own if row.is_of(own[m])), key=lambda m: abs(own[m].B_scale - 1), default=None
    )


def is_the_papers(comparison: Comparison, first_epoch: Comparison) -> bool:
    """Whether tasks and metrics are the paper's, and a row of it other than round-robin was run."""
    if not comparison.about["papers_tasks"]:
        return False
    rows = [(first_epoch if row.table == 3 else comparison, row) for row in paper.ROWS]
    found = [(c, run_of(c, row)) for c, row in rows if row.recipe.sampler != "rr"]
    return any(method in c.trained for c, method in found)


def papers_minutes(comparison: Comparison, method: str) -> Floats | None:
    """Minutes of an epoch on the paper's data with the paper's B, by what an example took here.

    One for each seed: [S]; None where the examples of a phase are not known.
    """
    settings, phases = comparison.kinds[method], comparison.frames.phases
    phases = phases[phases["method"] == method]
    there = [_papers_examples(settings, phase) for phase in phases["phase"]]
    if not there or None in there or not (phases["examples"] > 0).all():
        return None
    times = phases["seconds"] * np.array(there, float) / phases["examples"].astype(float)
    found = phases.assign(times=times).groupby("seed").agg({"times": "sum", "epoch": "nunique"})
    return (found["times"] / found["epoch"] / 60).to_numpy(float)


def _papers_examples(method: Method, phase: str) -> int | None:
    """Examples of a phase in an epoch on the paper's data; None where that is not known."""
    largest = max(size.train for size in paper.SIZES.values())
    if phase == "rr":
        return ROUND_ROBIN
    if phase.startswith("full:"):
        size = paper.SIZES.get(phase.removeprefix("full:"))
        return None if size is None else size.train
    if method.B is None:
        return None
    if method.sampler == "arrp":
        return min(method.B, largest)
    # B fixes the number of steps, and each of them has a batch for every task.
    return len(paper.SIZES) * method.B if method.sampler in ("annealed", "vanilla") else None


def table(comparison: Comparison, number: int) -> pd.DataFrame:
    """A table of the paper beside our runs: a row for each of its rows, run or not.

    Columns: experiment, row (as printed), method (ours), seeds, notes, command (of a row that was
    not run); for each task, the score and minutes: NAME.printed, NAME and NAME_sd. Minutes compare
    as ratios to round-robin's only: minutes_ratio.printed and minutes_ratio, and papers_ratio, ours
    at the paper's sizes. Of Table 3 the minutes are those beyond round-robin's.
    """
    c, first, rows = comparison, paper.row(number, "rr"), []
    rr = run_of(c, first)
    base = papers_minutes(c, rr) if rr else None
    for row in paper.rows(number):
        method = run_of(c, row)
        own = c.of(method)["minutes"] if method else pd.Series(dtype=float)
        full = papers_minutes(c, method) if method else None
        timed = bool(method and rr and c.same_device(method, rr))
        found: dict[str, Any] = {
            "experiment": row.experiment, "row": row.label, "method": method, "seeds": len(own),
            "notes": row.footnotes, "command": None if method else command(c, row),
        }  # fmt: skip
        for what in [paper.PARAPHRASE] if number == 3 else [*c.tasks, SCORE]:
            values = c.values[what][method] if method else own
            printed = row.score if what == SCORE else row.tasks.get(what)
            found |= {f"{what}.printed": printed, what: values.mean(), f"{what}_sd": values.std()}
        minutes = own.mean()
        if number == 3:
            minutes = minutes - c.of(rr)["minutes"].mean() if timed and rr else np.nan
        ratio = np.nan if full is None or base is None or not timed else full.mean() / base.mean()
        rows.append(found | {
            "minutes.printed": row.minutes, "minutes": minutes, "minutes_sd": own.std(),
            "minutes_ratio.printed": row.minutes / first.minutes if first.minutes else np.nan,
            "minutes_ratio": c.time_ratio(method, rr) if method and rr else np.nan,
            "papers_ratio": ratio,
        })  # fmt: skip
    return pd.DataFrame(rows)


def sizes(comparison: Comparison) -> pd.DataFrame:
    """Table 1: sizes, and the share that the first round-robin epoch used of each training set."""
    rr = run_of(comparison, paper.row(2, "rr"))
    epochs = comparison.frames.epochs
    first = epochs[(epochs["method"] == rr) & (epochs["epoch"] == 1)]
    used = first.groupby("task", observed=True)["fraction"].first()
    own = comparison.frames.scores.groupby("task", observed=True)[["train", "dev"]].first()
    return pd.DataFrame([
        {"task": task, "train.printed": size.train, "train": own["train"][task],
         "dev.printed": size.dev, "dev": own["dev"][task], "fraction.printed": size.used / 100,
         "fraction": used.get(task)}
        for task in comparison.tasks for size in (paper.SIZES[task],)
    ])  # fmt: skip


def command(comparison: Comparison, row: paper.PaperRow | None) -> str:
    """The command for a row of the paper, or for the single-task models, in the same setting.

    Its words are those that made a run of the setting, less those that choose a method. Where none
    are recorded, it says where to find what it must set.
    """
    runs = comparison.frames.runs
    choice = f"+experiment/table{row.table}={row.experiment}" if row else "sampler=single"
    epochs = 1 if row and row.table == 3 else int(comparison.epochs)
    seeds = ",".join(map(str, sorted({*runs["seed"], *LEAST_SEEDS})))
    head = ["mtl-bert", "train", "-m", choice, f"seed={seeds}", f"epochs={epochs}"]
    scales = set(runs.loc[runs["B"].notna(), "B_scale"])
    if row and len(scales) == 1 and scales != {1.0}:
        head.append(f"B_scale={scales.pop():g}")
    recorded = runs[runs["overrides"].notna()]
    if recorded.empty:
        return f"{shlex.join(head)}  # and the settings that Provenance lists: none are recorded"
    one = recorded.iloc[0]
    words = [w for w in one["overrides"]
             if re.split(r"[=./@]", w.lstrip("+~"), maxsplit=1)[0] not in _OWN]  # fmt: skip
    if one["processes"] > 1:
        # A sweep's jobs have one process each, which sees what several saw together.
        own = ("batch_size", "trainer.devices", "trainer.num_nodes")
        words = [word for word in words if word.partition("=")[0] not in own]
        words.append(f"batch_size={one['batch_size'] * one['processes']}")
    # Where things lie is the reader's to say, and nobody else's business.
    return shlex.join([*head, *(re.sub(r"=/.*", "=DIR", word) for word in words)])


SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"


class ImpossibleError(Exception):
    """Why a claim cannot be judged."""


@dataclass(frozen=True)
class Evidence:
    """What a claim rests on.

    Attributes:
        contrasts: differences that the claim names, each in words.
        judge: signs of the contrasts (1 and -1 significant, 0 not) -> supported?, contradicted?
        note: what else is to be said, such as times.
    """

    contrasts: Sequence[tuple[str, Difference]]
    judge: Callable[[Sequence[int]], tuple[bool, bool]]
    note: str = ""


def _rows(c: Comparison, *names: tuple[int, str]) -> list[str]:
    """Our methods of rows of the paper.

    Raises:
        ImpossibleError: nobody has run some of them.
    """
    rows = [paper.row(number, name) for number, name in names]
    found = [run_of(c, row) for row in rows]
    if missing := [row.label for row, method in zip(rows, found, strict=True) if method is None]:
        raise ImpossibleError(f"no run of {'; '.join(missing)}")
    return [method for method in found if method is not None]


def _higher(c: Comparison, *pairs: tuple[str, str]) -> Evidence:
    """Each first row of Table 2 against its second."""
    methods = [_rows(c, (2, a), (2, b)) for a, b in pairs]
    found = [(f"{a} minus {b}", c.difference(a, b)) for a, b in methods]
    return Evidence(found, lambda signs: (min(signs) > 0, min(signs) < 0))


def annealed_over_vanilla(c: Comparison) -> Evidence:
    """Annealed against vanilla, at both B."""
    return _higher(c, *((f"annealed_{B}", f"vanilla_{B}") for B in (56_000, 16_000)))


def surgery_over_full(c: Comparison) -> Evidence:
    """Round-robin against full finetuning."""
    return _higher(c, ("rr", "full"))


def close_and_faster(c: Comparison) -> Evidence:
    """ARRP close to annealed sampling, in less time."""
    arrp, annealed = _rows(c, (4, "arrp_f0_lambda01_100000"), (4, "annealed_56000"))
    found = c.difference(arrp, annealed)
    fast, slow = _minutes(c, arrp, annealed)
    close = min(found.seeds.interval.low, found.examples.low) > -c.margin
    far = max(found.seeds.interval.high, found.examples.high) < -c.margin
    note = f"{annealed} takes {write('time_ratio', slow / fast)} times the minutes of {arrp}."
    contrast = [(f"{arrp} minus {annealed}", found)]
    return Evidence(contrast, lambda signs: (close, far or slow <= fast), note)


def _minutes(c: Comparison, *methods: str) -> list[float]:
    """Minutes of an epoch at the paper's sizes: means over seeds.

    Raises:
        ImpossibleError: they are not known, or cannot be compared.
    """
    found = [papers_minutes(c, method) for method in methods]
    if any(each is None or not each.mean() > 0 for each in found):
        raise ImpossibleError("the time that it would take at the paper's sizes is not known")
    if not c.same_device(*methods):
        raise ImpossibleError("times on different devices")
    return [float(each.mean()) for each in found if each is not None]


def freezing_no_help(c: Comparison) -> Evidence:
    """F=1 against round-robin."""
    rr, *others = _rows(c, (4, "rr"), (4, "arrp_f1_lambda1"), (4, "arrp_f1_lambda05"))
    found = [(f"{method} minus {rr}", c.difference(method, rr)) for method in others]
    small = all(max(d.seeds.interval.high, d.examples.high) < c.margin for _, d in found)
    large = [d.mean >= c.margin for _, d in found]
    return Evidence(
        found, lambda signs: (small, any(s > 0 and x for s, x in zip(signs, large, strict=True)))
    )


def more_b_less_lambda(c: Comparison) -> Evidence:
    """The best λ of each B."""
    by_b: dict[int, dict[str, float]] = {}
    for method in c.trained:
        own = c.kinds[method]
        plain = ("arrp", (), LOSS, "", PAPER_SURGERY)
        if (own.sampler, own.frozen, own.lambda_on, own.rest, own.surgery) == plain and own.B:
            by_b.setdefault(own.B, {})[method] = own.lambda_ or 0.0
    several = {B: methods for B, methods in sorted(by_b.items()) if len(methods) > 1}
    if len(several) < 2:
        raise ImpossibleError("it takes two λ at each of two B")
    mean = c.values[SCORE].mean()
    best = {B: max(methods, key=lambda m: mean[m]) for B, methods in several.items()}
    found = [
        (f"{best[B]} minus {other}", c.difference(best[B], other))
        for B, methods in several.items() for other in methods if other != best[B]
    ]  # fmt: skip
    lambdas = [several[B][best[B]] for B in several]
    falls = all(later < earlier for earlier, later in pairwise(lambdas))
    return Evidence(found, lambda signs: (min(signs) > 0 and falls, min(signs) > 0 and not falls))


def cheap_but_weak(c: Comparison) -> Evidence:
    """Round-robin: time and paraphrase against the other methods of Table 2."""
    (rr,) = _rows(c, (2, "rr"))
    rows = [row for row in paper.rows(2) if row.recipe.sampler in ("annealed", "vanilla")]
    others = [method for row in rows if (method := run_of(c, row)) is not None]
    if not others:
        raise ImpossibleError("no other method of Table 2")
    found = [(f"{rr} minus {m}, {paper.PARAPHRASE}", c.difference(rr, m, paper.PARAPHRASE))
             for m in others]  # fmt: skip
    timed = [method for method in others if c.same_device(rr, method)]
    elsewhere = [method for method in others if method not in timed]
    own, *theirs = _minutes(c, rr, *(timed or others))
    ratios = [own / minutes for minutes in theirs]
    ends = " to ".join(write("time_ratio", end) for end in (min(ratios), max(ratios)))
    known = f" (not known of {' and '.join(elsewhere)}: another device)" if elsewhere else ""
    cheap = max(ratios) < 1
    return Evidence(
        found,
        lambda signs: (cheap and not elsewhere and max(signs) < 0, not cheap or max(signs) > 0),
        f"{rr} takes {ends} of their minutes{known}.",
    )


def paraphrase_for_others(c: Comparison) -> Evidence:
    """The largest B against the smallest, where nothing else differs."""
    families: dict[Method, dict[int, str]] = {}
    for method in c.trained:
        own = c.kinds[method]
        if own.B is not None and own.surgery == PAPER_SURGERY:
            families.setdefault(replace(own, B=None), {})[own.B] = method
    ends = [(f[max(f)], f[min(f)]) for f in families.values() if len(f) > 1]
    if not ends:
        raise ImpossibleError("no two methods that differ in B only")
    whats = sorted(c.tasks, key=lambda task: task != paper.PARAPHRASE)
    found = [(f"{a} minus {b}, {t}", c.difference(a, b, t)) for a, b in ends for t in whats]

    def judge(signs: Sequence[int]) -> tuple[bool, bool]:
        each = [signs[n : n + len(whats)] for n in range(0, len(signs), len(whats))]
        traded = all(gain > 0 and min(others) < 0 for gain, *others in each)
        return traded, any(
            gain < 0 or (max(others) > 0 and min(others) >= 0) for gain, *others in each
        )

    return Evidence(found, judge)


_TEXTS = tomllib.loads(Path(__file__).with_name("claims.toml").read_text("utf-8"))
_RULES = (
    annealed_over_vanilla, close_and_faster, freezing_no_help, more_b_less_lambda,
    surgery_over_full, cheap_but_weak, paraphrase_for_others,
)  # fmt: skip


def claims(comparison: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the paper claims and our runs say, and the differences that this rests on.

    A claim is a question of its own: its contrasts are one family for Holm's adjustment. Returns:
        claims: number, claim, verdict (supported, contradicted, undecided, or "cannot be judged:
            why"), note, printed (the paper's evidence), rule.
        evidence: the frame ``differences``, with the claim's number and the contrast in words.
    """
    rows, tables = [], [comparison.table([], named=True).assign(claim=[], contrast=[])]
    synthetic = "synthetic" in dict(comparison.about["badges"])
    for number, rule in enumerate(_RULES, start=1):
        texts, note = _TEXTS[rule.__name__], ""
        try:
            found = rule(comparison)
            note, differences = found.note, [d for _, d in found.contrasts]
            table = comparison.table(differences, named=True)
            tables.append(
                table.assign(claim=number, contrast=[name for name, _ in found.contrasts])
            )
            if unknown := [d.unknown for d in differences if d.unknown]:
                raise ImpossibleError(unknown[0])
            signs = [d.sign(p) for d, p in zip(differences, table["p_holm"], strict=True)]
            supported, contradicted = found.judge(signs)
            verdict = CONTRADICTED if contradicted else SUPPORTED if supported else UNDECIDED
        except ImpossibleError as error:
            verdict = f"cannot be judged: {error}"
        verdict += " (about made-up text, not about the paper's data)" if synthetic else ""
        rows.append({"claim": number, "text": texts["text"], "verdict": verdict, "note": note,
                     "printed": texts["evidence"], "rule": texts["rule"]})  # fmt: skip
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)
