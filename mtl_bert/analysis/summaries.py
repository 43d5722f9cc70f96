"""What methods did, put together from the frames: conflicts, data used, costs, unequal sizes.

Steps are joint where several tasks are in them. Means are over steps, so that a phase or an epoch
counts by its length, and then over seeds.
"""

from typing import Any

import pandas as pd

from mtl_bert.analysis.frames import WHOLE, Frames
from mtl_bert.analysis.leaderboard import SCORE, compared

USED = ["examples", "unique", "fraction", "repeats", "effective_epochs"]
WORST = "worst task"


def _over_steps(found: pd.DataFrame, by: list[str], names: list[str], steps: str) -> pd.DataFrame:
    """Means of columns over steps, for each value of ``by``; their number is the column steps."""
    weights = found[steps].astype(float)
    parts = found[by].join(found[names].mul(weights, axis=0)).assign(steps=weights)
    sums = parts.groupby(by, observed=True).sum().reset_index()
    return sums.assign(**{name: sums[name] / sums["steps"] for name in names})


def joint_steps(frames: Frames, *by: str) -> pd.DataFrame:
    """Shares of joint steps in conflict, and what was removed: for each method, seed and ``by``."""
    joint = frames.phases[frames.phases["joint_steps"] > 0]
    keys = ["method", "seed", *by]
    return _over_steps(joint, keys, ["conflicting", "removed"], "joint_steps")


def pairs(frames: Frames, *by: str) -> pd.DataFrame:
    """Mean cosine and share of steps in conflict of each pair: for each method, seed and ``by``.

    Of the whole gradient; of each part of the encoder if ``by`` has part.
    """
    found = frames.conflicts[(frames.conflicts["part"] == WHOLE) != ("part" in by)]
    keys = ["method", "seed", *by, "pair"]
    return _over_steps(found, keys, ["cosine", "conflicting"], "steps")


def influences(frames: Frames, *by: str) -> pd.DataFrame:
    """Each task in the update of joint steps: for each method, seed and ``by``.

    ``share`` is over all joint steps, where a task counts 0 if it is absent, so that the tasks' add
    up to 1; the other columns are means over the steps that have the task.
    """
    keys = ["method", "seed", *by]
    joint = frames.influences[frames.influences["joint_steps"] > 0]
    found = _over_steps(joint, [*keys, "task"], ["norm", "share", "before", "after"], "steps")
    phases = joint.drop_duplicates(["run", "epoch", "phase"]).groupby(keys, observed=True)
    steps = phases["phase_steps"].sum().astype(float).rename("all").reset_index()
    found = found.merge(steps, on=keys)
    return found.assign(share=found["share"] * found["steps"] / found["all"]).drop(columns="all")


def usage(frames: Frames) -> pd.DataFrame:
    """The data that each task saw over all epochs: means over seeds."""
    found = frames.scores.groupby(["method", "task"], observed=True)[USED].mean()
    return found.dropna(subset="examples").reset_index()


def phases(frames: Frames) -> pd.DataFrame:
    """Steps, examples and seconds of each run's phases over all epochs, and what they cost."""
    sums = frames.phases.groupby(["run", "method", "phase"], observed=True, sort=False)
    found = sums[["steps", "examples", "seconds"]].sum().reset_index()
    cost = 1000 * found["seconds"] / found["examples"].where(found["examples"] > 0)
    return found.assign(seconds_per_1000=cost)


def costs(frames: Frames) -> pd.DataFrame:
    """Examples and seconds of each phase's epoch, and seconds per 1,000 examples.

    Means over the seeds that have the phase, and NAME_sd.
    """
    each, names = phases(frames), ["examples", "seconds"]
    each = each[each["examples"] > 0].astype({"examples": float, "seconds_per_1000": float})
    epochs = each["run"].map(frames.runs.set_index("run")["last_epoch"]).astype(float)
    each[names] = each[names].div(epochs, axis=0)
    groups = each.groupby(["method", "phase"], observed=True)[[*names, "seconds_per_1000"]]
    found = groups.mean().join(groups.std().add_suffix("_sd"))
    return found.assign(seeds=groups.size()).reset_index()


def imbalance(frames: Frames) -> pd.DataFrame:
    """Scores against the ratio of sizes, of settings that differ in ``data.imbalance`` alone.

    Of several such series the one with most settings. Columns: setting, ratio, method (as it is
    called at every ratio: B may follow the sizes, and of several B the largest stands for it),
    what (score, worst task or a task), value.
    """
    rows: list[tuple[Any, ...]] = []
    series = frames.settings["alike"].replace("", None).mode()
    settings = frames.settings.loc[frames.settings["alike"].isin(series[:1]), "setting"]
    for letter in settings if len(settings) > 1 else ():
        c = compared(frames, letter)
        runs = c.frames.runs
        worst = runs.pivot(index="seed", columns="method", values="worst")
        ordered = sorted(c.trained, key=lambda m: c.kinds[m].drawn or 0)
        along = {c.kinds[m].short("B") + (", any B" if c.kinds[m].B else ""): m for m in ordered}
        rows += [
            (letter, runs["imbalance"].iloc[0], name, what, value)
            for name, method in along.items()
            for what, wide in {SCORE: c.values[SCORE], WORST: worst, **c.values}.items()
            for value in wide[method].dropna()
        ]
    return pd.DataFrame(rows, columns=["setting", "ratio", "method", "what", "value"])
