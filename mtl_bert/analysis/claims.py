"""The paper beside our runs: its tables and its claims.

Nothing of this is shown where tasks, metrics or methods are not its own (:func:`is_the_papers`).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl_bert.analysis import paper
from mtl_bert.analysis.columns import write
from mtl_bert.analysis.leaderboard import SCORE, Comparison, Contrast
from mtl_bert.runs.methods import PAPER_SURGERY, Method

SIZES = {task: size.train for task, size in paper.SIZES.items()}


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


def papers_minutes(comparison: Comparison, method: str) -> float:
    """Minutes of an epoch on the paper's data with the paper's B, by what an example took here.

    The mean over seeds; NaN where the examples of a phase are not known.
    """
    kind, phases = comparison.kinds[method], comparison.frames.phases
    phases = phases[phases["method"] == method]
    # Of annealed and vanilla sampling B is the number of steps, with a batch for every task.
    B, all_ = kind.B or 0, len(SIZES)
    each = {"arrp": min(B, max(SIZES.values())), "annealed": all_ * B, "vanilla": all_ * B}
    known = {"rr": all_ * min(SIZES.values())} | {f"full:{t}": n for t, n in SIZES.items()}
    drawn = each.get(kind.sampler) or np.nan
    there = [known.get(phase, np.nan if phase.startswith("full:") else drawn)
             for phase in phases["phase"]]  # fmt: skip
    seen = phases["examples"].astype(float).where(phases["examples"] > 0)
    seeds = phases.assign(seconds=phases["seconds"] * there / seen).groupby("seed")
    minutes = seeds["seconds"].sum(skipna=False) / seeds["epoch"].nunique() / 60
    return float(minutes.mean(skipna=False))


def table(comparison: Comparison, number: int) -> pd.DataFrame:
    """A table of the paper beside our leaderboard: a row for each of its rows, run or not.

    Columns: experiment, row (as printed), method (ours), notes, and the leaderboard's score,
    minutes, time_ratio (to round-robin's minutes) and TASK.value; each as paper.NAME, too, as it is
    printed, and full.time_ratio, ours at the paper's sizes. Of Table 3 the minutes are those beyond
    round-robin's.
    """
    c, first = comparison, paper.row(number, "rr")
    printed = pd.DataFrame([
        {"experiment": row.experiment, "row": row.label, "method": run_of(c, row),
         "notes": row.footnotes, "paper.minutes": row.minutes,
         **{f"paper.{task}.value": value for task, value in row.tasks.items()},
         **({} if row.score is None else {"paper.score": row.score})}
        for row in paper.rows(number)
    ])  # fmt: skip
    rr = run_of(c, first)
    ours = ["seeds", "time_ratio", "score", "minutes", *(f"{task}.value" for task in c.tasks)]
    board = c.leaderboard(rr)
    board = board[["method", *(n for n in board if str(n).removesuffix("_sd") in ours)]]
    found = printed.merge(board, "left", "method")
    timed = np.array(
        [rr and m in c.methods and c.same_device(m, rr) for m in found["method"]], bool
    )
    minutes = [papers_minutes(c, m) if there else np.nan
               for m, there in zip(found["method"], timed, strict=True)]  # fmt: skip
    found["full.time_ratio"] = np.array(minutes) / (papers_minutes(c, rr) if rr else np.nan)
    found["paper.time_ratio"] = found["paper.minutes"] / (first.minutes or np.nan)
    found["time_ratio"] = found["time_ratio"].where(timed)
    if number == 3:
        beyond = found["minutes"] - found.loc[found["method"] == rr, "minutes"].mean()
        found["minutes"] = beyond.where(timed)
    return found


def sizes(comparison: Comparison) -> pd.DataFrame:
    """Table 1: sizes, and the share that the first round-robin epoch used of each training set."""
    rr, epochs = run_of(comparison, paper.row(2, "rr")), comparison.frames.epochs
    first = epochs[(epochs["method"] == rr) & (epochs["epoch"] == 1)]
    own = comparison.frames.scores.groupby("task", observed=True)[["train", "dev"]].first()
    own["fraction"] = first.groupby("task", observed=True)["fraction"].first()
    printed = {t: (n.train, n.dev, n.used / 100) for t, n in paper.SIZES.items()}
    found = own.join(pd.DataFrame(printed, own.columns).T.add_prefix("paper."))
    return found.loc[list(comparison.tasks)].rename_axis("task").reset_index()


SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
CLAIMS = tomllib.loads(Path(__file__).with_name("claims.toml").read_text("utf-8"))["claim"]


class ImpossibleError(Exception):
    """Why a claim cannot be judged."""


def _rows(c: Comparison, about: Mapping[str, Any]) -> list[Contrast]:
    """Contrasts of rows that a claim names, as ``table/experiment``."""
    found = []
    for pair in about["rows"]:
        rows = [paper.row(int(name[0]), name[2:]) for name in pair]
        methods = [run_of(c, row) for row in rows]
        missing = [row.label for row, m in zip(rows, methods, strict=True) if m is None]
        if missing and not (about.get("where_run") and methods[0]):
            raise ImpossibleError(f"no run of {'; '.join(missing)}")
        if not missing:
            found.append((str(methods[0]), str(methods[1]), about.get("what", SCORE)))
    if not found:
        raise ImpossibleError("no run of the rows that it names")
    return found


def _best_lambdas(c: Comparison) -> tuple[list[Contrast], bool]:
    """The best λ of each B against every other, and whether it falls as B grows."""
    by_b: dict[int, dict[str, float]] = {}
    for method, own in c.kinds.items():
        if own.B and replace(own, B=None, B_scale=1.0, lambda_=None) == Method("arrp"):
            by_b.setdefault(own.B, {})[method] = own.lambda_ or 0.0
    several = [methods for _, methods in sorted(by_b.items()) if len(methods) > 1]
    if len(several) < 2:
        raise ImpossibleError("it takes two λ at each of two B")
    mean = c.values[SCORE].mean()
    best = [max(methods, key=lambda m: mean[m]) for methods in several]
    falls = all(b < a for a, b in pairwise(own[m] for own, m in zip(several, best, strict=True)))
    pairs = zip(best, several, strict=True)
    return [(m, other, SCORE) for m, own in pairs for other in own if other != m], falls


def _ends_of_b(c: Comparison) -> list[Contrast]:
    """The largest B against the smallest where nothing else differs: paraphrase, then the rest."""
    families: dict[Method, dict[int, str]] = {}
    for method, own in c.kinds.items():
        if own.B is not None and own.surgery == PAPER_SURGERY:
            families.setdefault(replace(own, B=None), {})[own.B] = method
    ends = [(f[max(f)], f[min(f)]) for f in families.values() if len(f) > 1]
    if not ends:
        raise ImpossibleError("no two methods that differ in B only")
    whats = sorted(c.tasks, key=lambda task: task != paper.PARAPHRASE)
    return [(a, b, what) for a, b in ends for what in whats]


def _times(c: Comparison, contrasts: Sequence[Contrast]) -> tuple[bool | None, str]:
    """Whether the first method takes less time than each other, and a sentence about that.

    None where it does as far as that is known, and others ran on another device.
    """
    first, others = contrasts[0][0], [minus for _, minus, _ in contrasts]
    timed = [method for method in others if c.same_device(first, method)]
    own, *theirs = (papers_minutes(c, method) for method in (first, *(timed or others)))
    if not np.min([own, *theirs]) > 0:  # or NaN
        raise ImpossibleError("the time that it would take at the paper's sizes is not known")
    if not timed:
        raise ImpossibleError("times on different devices")
    ratios = sorted({own / max(theirs), own / min(theirs)})
    whose = "their" if len(others) > 1 else f"{others[0]}'s"
    elsewhere = " and ".join(method for method in others if method not in timed)
    known = f" (not known of {elsewhere}: another device)" if elsewhere else ""
    ends = " to ".join(write("time_ratio", ratio) for ratio in ratios)
    faster = None if elsewhere and ratios[-1] < 1 else ratios[-1] < 1
    return faster, f"{first} takes {ends} of {whose} minutes{known}."


def _outcome(kind: str, rows: Sequence[Mapping[Any, Any]], margin: float) -> tuple[bool, bool]:
    """Whether the differences of two methods are as claimed, and whether they speak against it."""
    first = rows[0]
    sign, *others = (int(row["significant"] and np.sign(row["difference"])) for row in rows)
    low, high = min(first["low"], first["examples_low"]), max(first["high"], first["examples_high"])
    return {
        "higher": (sign > 0, sign < 0),
        "lower": (sign < 0, sign > 0),
        "close": (low > -margin, high < -margin),
        "no_gain": (high < margin, sign > 0 and first["difference"] >= margin),
        "best": (sign > 0, False),
        "traded": (sign > 0 > min(others, default=0),
                   sign < 0 or max(others, default=0) > 0 <= min(others, default=0)),
    }[kind]  # fmt: skip


def _judged(c: Comparison, about: Mapping[str, Any]) -> tuple[str, str, pd.DataFrame]:
    """A claim's verdict, a note about times, and the differences that it rests on.

    They are one family for Holm's adjustment: a claim is a question of its own.
    """
    kind, falls, note, found = about["kind"], True, "", c.differences([], named=True)
    faster: bool | None = True
    try:
        if kind == "best":
            contrasts, falls = _best_lambdas(c)
        else:
            contrasts = _ends_of_b(c) if kind == "traded" else _rows(c, about)
        if about.get("faster"):
            faster, note = _times(c, contrasts)
        found = c.differences(contrasts, named=True)
        for verdict in found["verdict"]:
            if verdict.startswith("unknown: "):
                raise ImpossibleError(verdict.removeprefix("unknown: "))
    except ImpossibleError as error:
        return f"cannot be judged: {error}", note, found
    pairs = groupby(found.to_dict("records"), key=lambda row: (row["method"], row["minus"]))
    outcomes = [_outcome(kind, list(rows), c.margin) for _, rows in pairs]
    so, against = all(yes for yes, _ in outcomes), any(no for _, no in outcomes)
    if against or faster is False or (so and not falls):
        return CONTRADICTED, note, found
    return SUPPORTED if so and faster else UNDECIDED, note, found


def claims(comparison: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the paper claims and our runs say, and the differences that this rests on.

    Returns:
        claims: number, statement, verdict (supported, contradicted, undecided, or why it cannot be
            judged), note, printed (the paper's evidence), rule.
        evidence: the frame ``differences``, with the claim's number and the contrast in words.
    """
    rows, tables = [], []
    synthetic = "synthetic" in dict(comparison.about["badges"])
    for number, about in enumerate(CLAIMS, start=1):
        verdict, note, table = _judged(comparison, about)
        verdict += " (about made-up text, not about the paper's data)" if synthetic else ""
        what = table["what"].map(lambda what: "" if what == SCORE else f", {what}")
        words = table["method"].astype(str) + " minus " + table["minus"] + what
        tables.append(table.assign(claim=number, contrast=words))
        rows.append({"claim": number, "statement": about["text"], "verdict": verdict, "note": note,
                     "printed": about["evidence"], "rule": about["rule"]})  # fmt: skip
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)
