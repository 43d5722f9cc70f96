"""Each run's own view: questions answered in words, tables and charts, as data for the page.

A sentence says what was counted and nothing about why. What chance would make stands beside what
was found, since a negative cosine alone is no news.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mtl_bert.analysis.blocks import Table, own, table
from mtl_bert.analysis.columns import column, write
from mtl_bert.analysis.frames import WHOLE, Frames

Row = Mapping[str, Any]
NOTHING = "Nothing can be said:"
NEVER_MET = f"{NOTHING} no step had two tasks, so their gradients never met."
CAUSES = {
    "synthetic": "SYNTHETIC", "partial": "PARTIAL DATA", "contaminated": "CONTAMINATED",
}  # fmt: skip
"""What a badge says of a flag."""

TASKS = ("task", "metric", "value", "untrained", "last", "n", "train", "examples", "fraction",
         "effective_epochs")  # fmt: skip
PHASES = (
    "phase", "steps", "examples", "seconds",
    own("of_time", "of the time", "share of all training time", ".1%"),
    own("cost", "seconds per 1,000 examples", "what examples take", ",.2f", "s"),
)  # fmt: skip
PAIRS = ("pair", "steps", "cosine", "conflicting")
QUESTIONS = (
    "Do the tasks conflict?", "When?", "In which parts of the encoder?", "Who dominates the update?",
    "What did the method change?", "How much of the data was used?", "Was it worth the time?",
)  # fmt: skip


def means(frame: pd.DataFrame, keys: Sequence[str], values: Sequence[str], by: str) -> pd.DataFrame:
    """Means of values weighted by another column, which is summed: a row for each key."""
    weights = frame[by].astype(float)
    sums = frame[list(values)].astype(float).mul(weights, axis=0).assign(**{by: weights})
    found = sums.groupby([frame[key] for key in keys], observed=True, sort=False).sum()
    found[list(values)] = found[list(values)].div(found[by], axis=0)
    return found.reset_index()


def joint_steps(frames: Frames, *keys: str) -> pd.DataFrame:
    """Steps with several tasks, by run and further keys: joint_steps, conflicting, removed."""
    met = frames.phases[frames.phases["joint_steps"] > 0]
    return means(met, ["run", *keys], ["conflicting", "removed"], "joint_steps")


def pairs_met(frames: Frames, *keys: str, layers: bool = False) -> pd.DataFrame:
    """Pairs of tasks by run and further keys: steps, cosine, conflicting.

    Args:
        frames: of the runs.
        keys: further ones, as epoch.
        layers: in each part of the encoder, not in the whole of it.
    """
    whole = frames.conflicts["part"] == WHOLE
    own = frames.conflicts[~whole if layers else whole]
    return means(own, ["run", *keys, "pair"], ["cosine", "conflicting"], "steps")


def parts_taken(frames: Frames, *keys: str) -> pd.DataFrame:
    """Tasks in joint steps by run and further keys: norm, before, after, and their share.

    The share is of all joint steps' updates: a task counts 0 where it is absent.
    """
    own, by = frames.influences, ["run", *keys]
    own = own[own["joint_steps"] > 0]
    found = means(own, [*by, "task"], ["norm", "before", "after", "share"], "steps")
    total = own.drop_duplicates(["run", "epoch", "phase"]).groupby(by, observed=True)["phase_steps"]
    of = found.merge(total.sum().astype(float).reset_index(), on=by)
    return found.assign(share=of["share"] * of["steps"] / of["phase_steps"])


@dataclass(frozen=True)
class Findings:
    """What a run's answers are made of.

    Attributes:
        run: its row.
        tasks: rows of its scores.
        joint: its joint steps, if there are any.
        epochs: the same of each epoch.
        pairs, pair_epochs, layers: pairs that met; by epoch; by part of the encoder.
        parts: tasks in joint steps.
        alone: steps that had one task only: task -> how many.
        rival: what it is held against: its name, mean score, seeds, minutes and devices.
    """

    run: Row
    tasks: Sequence[Row]
    joint: Row | None
    epochs: Sequence[Row]
    pairs: Sequence[Row]
    pair_epochs: Sequence[Row]
    layers: Sequence[Row]
    parts: Sequence[Row]
    alone: Mapping[str, int]
    rival: Row | None


def findings(frames: Frames) -> Iterator[Findings]:
    """Those of every run, in the order of the frame."""
    by_run = {
        "tasks": _by_run(frames.scores),
        "joint": _by_run(joint_steps(frames)),
        "epochs": _by_run(joint_steps(frames, "epoch")),
        "pairs": _by_run(pairs_met(frames)),
        "pair_epochs": _by_run(pairs_met(frames, "epoch")),
        "layers": _by_run(pairs_met(frames, "part", layers=True)),
        "parts": _by_run(parts_taken(frames)),
    }
    alone: defaultdict[str, dict[str, int]] = defaultdict(dict)
    single = frames.influences[frames.influences["joint_steps"] == 0]
    counted = single.groupby(["run", "task"], observed=True, sort=False)["steps"].sum()
    for (run, task), steps in counted.items():
        alone[run][task] = int(steps)
    rivals = _rivals(frames)
    for row in frames.runs.to_dict("records"):
        own = {name: rows.get(row["run"], []) for name, rows in by_run.items()}
        joint = own.pop("joint")
        yield Findings(
            run=row, joint=joint[0] if joint else None, alone=alone[row["run"]],
            rival=next((r for r in rivals.get((row["setting"], row["epochs"]), ())
                        if r["method"] != row["method"]), None), **own,
        )  # fmt: skip


def _by_run(frame: pd.DataFrame) -> dict[Hashable, list[Row]]:
    found: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for row in frame.to_dict("records"):
        found[row["run"]].append(row)
    return found


def _rivals(frames: Frames) -> dict[tuple[Any, Any], list[Row]]:
    """What runs of a setting and length are held against: round-robin, then single-task models.

    Of several such methods the first one counts, and none is its own rival.
    """
    found: defaultdict[tuple[Any, Any], list[Row]] = defaultdict(list)
    counting = frames.runs[~frames.runs["superseded"] & (frames.runs["last_epoch"] > 0)]
    for sampler, name in (("rr", "Round-robin"), ("single", "One encoder per task")):
        named = counting[counting["sampler"] == sampler]
        for place, runs in named.groupby(["setting", "epochs"], observed=True):
            first = runs["method"].cat.as_ordered().min()  # in the order of methods: the plainest
            own = runs[runs["method"] == first]
            found[place].append({
                "name": name, "method": first, "score": own["score"].mean(), "n": len(own),
                "minutes": own["minutes"].mean(), "devices": set(own["device"]),
            })  # fmt: skip
    return found


def answers(found: Findings) -> list[tuple[str, str]]:
    """Each question with its answer."""
    if not found.run["last_epoch"]:
        return [("What happened?", "Nothing was trained.")]
    said = (_conflict, _when, _layers, _dominance, _change, _use, _worth)
    return [(question, answer(found)) for question, answer in zip(QUESTIONS, said, strict=True)]


def _both(row: Row) -> str:
    return str(row["pair"]).replace("/", " and ")


def _told(row: Row) -> str:
    return (
        f"{write('conflicting', row['conflicting'])}, mean cosine {write('cosine', row['cosine'])}"
    )


def _counted(number: float, what: str) -> str:
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"


def _sharpest(pairs: Sequence[Row]) -> Row:
    """The pair that conflicts most often; of equals that with the lowest cosine."""
    return min(pairs, key=lambda p: (-p["conflicting"], p["cosine"]))


def _conflict(found: Findings) -> str:
    if found.joint is None:
        return NEVER_MET
    lead = (
        f"In {write('conflicting', found.joint['conflicting'])} of "
        f"{_counted(found.joint['joint_steps'], 'joint step')} at least two tasks' gradients "
        "pointed against each other."
    )
    most = _sharpest(found.pairs)
    chance = (
        "Gradients that have nothing to do with each other would do so in about half of the steps "
        "for each pair"
    )
    if len(found.pairs) == 1:
        return f"{lead} The mean cosine of {_both(most)} was {write('cosine', most['cosine'])}. {chance}."
    least = min(found.pairs, key=lambda p: p["conflicting"])
    rest = f" Least often {_both(least)}: {_told(least)}." if least is not most else ""
    some = write("conflicting", 1 - 0.5 ** len(found.pairs))
    return (
        f"{lead} Most often {_both(most)}: in {_told(most)}.{rest} {chance}, and some pair in about "
        f"{some} of them."
    )


def _when(found: Findings) -> str:
    if found.joint is None:
        return NEVER_MET
    shares = {int(row["epoch"]): row["conflicting"] for row in found.epochs}
    told = {epoch: write("conflicting", share) for epoch, share in shares.items()}
    first, last = min(shares), max(shares)
    if first == last:
        return (
            f"Only epoch {first} had joint steps ({told[first]} of them in conflict), so nothing "
            "can be said about a course."
        )
    said = f"In epoch {first}, {told[first]} of the joint steps were in conflict, in epoch {last}, {told[last]}."
    if len(shares) > 2:
        most, fewest = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        said += (
            f" Most were in epoch {most} ({told[most]}), fewest in epoch {fewest} ({told[fewest]})."
        )
    pair = _sharpest(found.pairs)
    cosines = {int(r["epoch"]): r["cosine"] for r in found.pair_epochs if r["pair"] == pair["pair"]}
    if first in cosines and last in cosines:
        said += (
            f" The mean cosine of {_both(pair)} went from {write('cosine', cosines[first])} to "
            f"{write('cosine', cosines[last])}."
        )
    return said


def _layers(found: Findings) -> str:
    if not found.layers:
        return (
            f"{NOTHING} parts were not looked at one by one. trainer.layers_every=50 does so in "
            "every 50th joint step; it changes no numbers."
        )
    looked = max(row["steps"] for row in found.layers)
    low, high = (f(found.layers, key=lambda row: row["cosine"]) for f in (min, max))
    least, most = (f"{row['part']}, {_both(row)} ({_told(row)})" for row in (low, high))
    return (
        f"Over {_counted(looked, 'step')} that were looked at, gradients agreed least in {least} "
        f"and most in {most}. Shares are of steps in conflict."
    )


def _dominance(found: Findings) -> str:
    alone = ", ".join(f"{task} {steps:,}" for task, steps in found.alone.items())
    if found.joint is None:
        if not alone:
            return NEVER_MET
        return f"Every step was of one task alone, whose update it is: {alone} steps."
    parts = sorted(found.parts, key=lambda row: -row["share"])
    shares = ", ".join(f"{row['task']} {write('share', row['share'])}" for row in parts)
    norms = ", ".join(f"{row['task']} {write('norm', row['norm'])}" for row in found.parts)
    rest = ""
    if alone:
        steps = _counted(found.joint["joint_steps"], "joint step")
        rest = f" Besides {steps} there were steps of one task alone: {alone}."
    return (
        f"{parts[0]['task']} has the largest part of the joint steps' update: {shares} (equal "
        f"parts would be {write('share', 1 / len(parts))}). The gradients' mean lengths: "
        f"{norms}.{rest}"
    )


def _change(found: Findings) -> str:
    if found.joint is None:
        return NEVER_MET
    removed = found.joint["removed"]
    how = "as long as"
    if abs(removed) >= 0.0005:
        word = "shorter" if removed > 0 else "longer"
        how = f"{write('removed', abs(removed))} {word} than"
    cosines = ", ".join(
        f"{r['task']} {write('before', r['before'])} → {write('after', r['after'])}"
        for r in found.parts
    )
    return (
        f"The update was {how} the plain sum of the gradients, on average. The cosine of each "
        f"task's gradient with the plain sum, and with the update: {cosines}."
    )


def _use(found: Findings) -> str:
    used = [
        f"{row['task']}: {write('unique', row['unique'])} of {write('train', row['train'])} "
        f"examples at least once ({write('fraction', row['fraction'])}), "
        f"{write('examples', row['examples'])} with repeats, which are "
        f"{write('effective_epochs', row['effective_epochs'])} effective epochs"
        for row in found.tasks
        if pd.notna(row["examples"])
    ]
    return f"{'; '.join(used)}." if used else f"{NOTHING} no example was counted."


def _worth(found: Findings) -> str:
    run, rival = found.run, found.rival
    said = (
        f"Training took {write('minutes', run['minutes'])} minutes per epoch; the dev score is "
        f"{write('score', run['score'])} (best epoch, {run['best_epoch']} of {run['last_epoch']})."
    )
    if pd.notna(run["untrained_score"]):
        said += f" Untrained it was {write('score', run['untrained_score'])}."
    if rival is None:
        return (
            f"{said} There is no run of round-robin or of single-task models beside it in this "
            "setting, so whether that is much cannot be said."
        )
    times = ""
    if rival["devices"] != {run["device"]}:
        times = "; it ran on another device, so times say nothing"
    elif rival["minutes"] > 0:
        times = f" for {run['minutes'] / rival['minutes']:,.2f} times its minutes"
    change = column("score", form="+.3f").write(run["score"] - rival["score"])
    return (
        f"{said} {rival['name']} in the same setting has {write('score', rival['score'])} "
        f"(n={rival['n']}): {change}{times}. This is one seed; the leaderboard judges methods by "
        "all of theirs."
    )


def views(frames: Frames) -> Iterator[dict[str, Any]]:
    """Every run's view as data for the page, in the order of the frame."""
    settings = {row["setting"]: row for row in frames.settings.to_dict("records")}
    phases = _by_run(_phases(frames))
    for found in findings(frames):
        run = found.run
        setting = settings[run["setting"]]
        parts: list[dict[str, Any]] = [{"words": answers(found)}]
        tasks = pd.DataFrame(found.tasks)
        parts.append(packed(table("", "Scores, and the data that were used", tasks, TASKS)))
        if own := phases.get(run["run"]):
            parts.append(packed(table("", "Time per phase", pd.DataFrame(own), PHASES)))
        if found.pairs:
            pairs = pd.DataFrame(found.pairs)
            parts.append(packed(table("", "Pairs of tasks in joint steps", pairs, PAIRS)))
        facts = {
            "command": " ".join(run["overrides"]) if run["overrides"] else "not recorded",
            "commit": run["commit"] or "unknown", "device": run["device"],
            "finished": f"{run['finished']:%Y-%m-%d %H:%M} UTC", "notes": "; ".join(run["notes"]),
        }  # fmt: skip
        rows = [[name, value] for name, value in facts.items() if value]
        parts.append({"title": "Provenance", "columns": [["", 0], ["", 0]], "rows": rows})
        yield {
            "name": run["run"], "home": setting["slug"],
            "lead": f"{run['method']}, seed {run['seed']}, {_counted(run['epochs'], 'epoch')}; "
                    f"{setting['about']}.",
            "badges": [[CAUSES[word], about] for word, about in setting["badges"]],
            "parts": parts,
        }  # fmt: skip


def packed(made: Table) -> dict[str, Any]:
    """A table as data for scripts."""
    return {
        "title": made.title,
        "columns": [[c.title, int(bool(c.form))] for c in made.columns],
        "rows": [[cell.packed() for cell in row] for row in made.rows],
        **({"note": made.caption} if made.caption else {}),
    }


def _phases(frames: Frames) -> pd.DataFrame:
    """Steps, examples and seconds of each run's phases over all epochs, with what they cost."""
    sums = frames.phases.groupby(["run", "phase"], observed=True, sort=False)
    found = sums[["steps", "examples", "seconds"]].sum().reset_index()
    total = found.groupby("run", observed=True)["seconds"].transform("sum")
    return found.assign(
        of_time=found["seconds"] / total,
        cost=1000 * found["seconds"] / found["examples"].where(found["examples"] > 0),
    )
