"""The paper beside our runs: its tables, the commands for rows that are missing, and its claims.

Nothing of this is shown where tasks, metrics or methods are not its own (:func:`is_the_papers`).
"""

import re
import shlex
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
from mtl_bert.analysis.leaderboard import SCORE, Comparison, Difference
from mtl_bert.analysis.methods import ADAPTER, PAPER_SURGERY, Method
from mtl_bert.analysis.statistics import Floats

LEAST_SEEDS = (1, 2, 3)  # a spread needs more than one
_OWN = (
    "seed", "epochs", "sampler", "B", "lambda", "freeze", "surgery", "experiment",
    "hydra", "logger",
)  # fmt: skip
"""Settings that a command for a missing row says itself, or that no number depends on."""
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


def papers_minutes(comparison: Comparison, method: str) -> Floats | None:
    """Minutes of an epoch on the paper's data with the paper's B, by what an example took here.

    One for each seed: [S]; None where the examples of a phase are not known.
    """
    kind, phases = comparison.kinds[method], comparison.frames.phases
    phases = phases[phases["method"] == method]
    # Of annealed and vanilla sampling B is the number of steps, with a batch for every task.
    B, all_ = kind.B or 0, len(SIZES)
    each = {"arrp": min(B, max(SIZES.values())), "annealed": all_ * B, "vanilla": all_ * B}
    known = {"rr": all_ * min(SIZES.values())} | {f"full:{t}": n for t, n in SIZES.items()}
    drawn = each.get(kind.sampler) or None
    there = [known.get(phase, None if phase.startswith("full:") else drawn)
             for phase in phases["phase"]]  # fmt: skip
    if not there or None in there or not (phases["examples"] > 0).all():
        return None
    times = phases["seconds"] * np.array(there, float) / phases["examples"].astype(float)
    found = phases.assign(times=times).groupby("seed").agg({"times": "sum", "epoch": "nunique"})
    return (found["times"] / found["epoch"] / 60).to_numpy(float)


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
        minutes = c.of(method)["minutes"] if method else pd.Series(dtype=float)
        found: dict[str, Any] = {
            "experiment": row.experiment, "row": row.label, "method": method,
            "seeds": len(minutes), "notes": row.footnotes,
            "command": None if method else command(c, row),
            "minutes.printed": row.minutes, "minutes": minutes.mean(), "minutes_sd": minutes.std(),
            "minutes_ratio.printed": row.minutes / first.minutes if first.minutes else np.nan,
            "minutes_ratio": np.nan, "papers_ratio": np.nan,
        }  # fmt: skip
        for what in [paper.PARAPHRASE] if number == 3 else [*c.tasks, SCORE]:
            values = c.values[what][method] if method else pd.Series(dtype=float)
            printed = row.score if what == SCORE else row.tasks.get(what)
            found |= {f"{what}.printed": printed, what: values.mean(), f"{what}_sd": values.std()}
        timed = method and rr and c.same_device(method, rr)
        if method and rr and timed:
            full, found["minutes_ratio"] = papers_minutes(c, method), c.time_ratio(method, rr)
            if full is not None and base is not None:
                found["papers_ratio"] = full.mean() / base.mean()
        if number == 3:
            found["minutes"] -= c.of(rr)["minutes"].mean() if rr and timed else np.nan
        rows.append(found)
    return pd.DataFrame(rows)


def sizes(comparison: Comparison) -> pd.DataFrame:
    """Table 1: sizes, and the share that the first round-robin epoch used of each training set."""
    rr, epochs = run_of(comparison, paper.row(2, "rr")), comparison.frames.epochs
    first = epochs[(epochs["method"] == rr) & (epochs["epoch"] == 1)]
    used = first.groupby("task", observed=True)["fraction"].first()
    own = comparison.frames.scores.groupby("task", observed=True)[["train", "dev"]].first()
    printed = pd.DataFrame(
        {t: (n.train, n.dev, n.used / 100) for t, n in paper.SIZES.items()},
        ["train.printed", "dev.printed", "fraction.printed"],
    )
    found = own.join(used).join(printed.T).loc[list(comparison.tasks)]
    return found.rename_axis("task").reset_index()


def command(comparison: Comparison, row: paper.PaperRow) -> str:
    """The command for a row of the paper in the same setting.

    Its words are those that made a run of the setting, less those that choose a method. Where none
    are recorded, it says where to find what it must set.
    """
    runs = comparison.frames.runs
    epochs = 1 if row.table == 3 else int(comparison.epochs)
    seeds = ",".join(map(str, sorted({*runs["seed"], *LEAST_SEEDS})))
    head = ["mtl-bert", "train", "-m", f"+experiment/table{row.table}={row.experiment}",
            f"seed={seeds}", f"epochs={epochs}"]  # fmt: skip
    recorded = runs[runs["overrides"].notna()].head(1).to_dict("records")
    if not recorded:
        return f"{shlex.join(head)}  # and the settings that Provenance lists: none are recorded"
    words, processes = list(recorded[0]["overrides"]), recorded[0]["processes"]
    if processes > 1:
        # A sweep's jobs have one process each, which sees what several saw together.
        own = ("batch_size", "trainer.devices", "trainer.num_nodes")
        words = [word for word in words if word.partition("=")[0] not in own]
        words.append(f"batch_size={recorded[0]['batch_size'] * processes}")
    chosen = {f"model.{key}" for key in ADAPTER}
    words = [w for w in words if w.lstrip("+").partition("=")[0] not in chosen]
    words = [w for w in words if re.split(r"[=./@]", w.lstrip("+~"), maxsplit=1)[0] not in _OWN]
    # Where things lie is the reader's to say, and nobody else's business.
    return shlex.join([*head, *(re.sub(r"=/.*", "=DIR", word) for word in words)])


SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
CLAIMS = tomllib.loads(Path(__file__).with_name("claims.toml").read_text("utf-8"))["claim"]
Contrast = tuple[str, str, str]  # a method, the one that is subtracted, and the task or score


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
    minutes = [papers_minutes(c, method) for method in (first, *(timed or others))]
    if any(each is None or not each.mean() > 0 for each in minutes):
        raise ImpossibleError("the time that it would take at the paper's sizes is not known")
    if not timed:
        raise ImpossibleError("times on different devices")
    own, *theirs = (float(np.mean(each)) for each in minutes if each is not None)
    ratios = sorted({own / max(theirs), own / min(theirs)})
    whose = "their" if len(others) > 1 else f"{others[0]}'s"
    elsewhere = " and ".join(method for method in others if method not in timed)
    known = f" (not known of {elsewhere}: another device)" if elsewhere else ""
    ends = " to ".join(write("time_ratio", ratio) for ratio in ratios)
    faster = None if elsewhere and ratios[-1] < 1 else ratios[-1] < 1
    return faster, f"{first} takes {ends} of {whose} minutes{known}."


def _outcome(
    kind: str, signs: Sequence[int], differences: Sequence[Difference], margin: float
) -> tuple[bool, bool]:
    """Whether the differences of two methods are as claimed, and whether they speak against it."""
    d, sign, others = differences[0], signs[0], signs[1:] or [0]
    (low, high), (examples_low, examples_high) = d.seeds.interval, d.examples
    return {
        "higher": (sign > 0, sign < 0),
        "lower": (sign < 0, sign > 0),
        "close": (min(low, examples_low) > -margin, max(high, examples_high) < -margin),
        "no_gain": (max(high, examples_high) < margin, sign > 0 and d.mean >= margin),
        "best": (sign > 0, False),
        "traded": (sign > 0 > min(others), sign < 0 or (max(others) > 0 <= min(others))),
    }[kind]


def _judged(c: Comparison, about: Mapping[str, Any]) -> tuple[str, str, pd.DataFrame]:
    """A claim's verdict, a note about times, and the differences that it rests on.

    They are one family for Holm's adjustment: a claim is a question of its own.
    """
    kind, falls, note, table = about["kind"], True, "", c.table([], named=True)
    faster: bool | None = True
    try:
        if kind == "best":
            contrasts, falls = _best_lambdas(c)
        else:
            contrasts = _ends_of_b(c) if kind == "traded" else _rows(c, about)
        if about.get("faster"):
            faster, note = _times(c, contrasts)
        found = [c.difference(*contrast) for contrast in contrasts]
        table = c.table(found, named=True)
        if unknown := [d.unknown for d in found if d.unknown]:
            raise ImpossibleError(unknown[0])
    except ImpossibleError as error:
        return f"cannot be judged: {error}", note, table
    judged = [(d, d.sign(p)) for d, p in zip(found, table["p_holm"], strict=True)]
    outcomes = []
    for _, pair in groupby(judged, key=lambda each: each[0][:2]):
        each, signs = zip(*pair, strict=True)
        outcomes.append(_outcome(kind, signs, each, c.margin))
    so, against = all(yes for yes, _ in outcomes), any(no for _, no in outcomes)
    if against or faster is False or (so and not falls):
        return CONTRADICTED, note, table
    return SUPPORTED if so and faster else UNDECIDED, note, table


def claims(comparison: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the paper claims and our runs say, and the differences that this rests on.

    Returns:
        claims: number, claim, verdict (supported, contradicted, undecided, or "cannot be judged:
            why"), note, printed (the paper's evidence), rule.
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
        rows.append({"claim": number, "text": about["text"], "verdict": verdict, "note": note,
                     "printed": about["evidence"], "rule": about["rule"]})  # fmt: skip
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)
