"""What methods did, put together from the frames: conflicts, data used, costs, unequal sizes.

Steps are joint where several tasks are in them. Means are over steps, so that a phase or an epoch
counts by its length, and then over seeds.
"""

from collections.abc import Sequence
from itertools import product

import pandas as pd

from mtl_bert.analysis.columns import write
from mtl_bert.analysis.frames import WHOLE, Frames
from mtl_bert.analysis.leaderboard import SCORE, compared
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.statistics import paired

USED = ["examples", "unique", "fraction", "repeats", "effective_epochs"]
WORST = "worst task"


def _over_steps(
    found: pd.DataFrame, by: Sequence[str], names: Sequence[str], steps: str
) -> pd.DataFrame:
    """Means of columns over steps, for each value of ``by``; their number is the column steps."""
    weighted = found[list(names)].mul(found[steps].astype(float), axis=0)
    groups = weighted.assign(steps=found[steps].astype(float)).groupby(
        [found[key] for key in by], observed=True
    )
    sums = groups.sum().reset_index()
    return sums.assign(**{name: sums[name] / sums["steps"] for name in names})


def joint_steps(frames: Frames, *by: str) -> pd.DataFrame:
    """Shares of joint steps in conflict, and what was removed: for each method, seed and ``by``."""
    joint = frames.phases[frames.phases["joint_steps"] > 0]
    return _over_steps(joint, ("method", "seed", *by), ["conflicting", "removed"], "joint_steps")


def pairs(frames: Frames, *by: str) -> pd.DataFrame:
    """Mean cosine and share of steps in conflict of each pair: for each method, seed and ``by``.

    Of the whole gradient; of each part of the encoder if ``by`` has part.
    """
    found = frames.conflicts
    found = found[(found["part"] != WHOLE) if "part" in by else (found["part"] == WHOLE)]
    return _over_steps(found, ("method", "seed", *by, "pair"), ["cosine", "conflicting"], "steps")


def influences(frames: Frames, *by: str) -> pd.DataFrame:
    """Each task in the update of joint steps: for each method, seed and ``by``.

    ``share`` is over all joint steps, where a task counts 0 if it is absent, so that the tasks' add
    up to 1; the other columns are means over the steps that have the task.
    """
    keys = ["method", "seed", *by]
    joint = frames.influences[frames.influences["joint_steps"] > 0]
    found = _over_steps(joint, (*keys, "task"), ["norm", "share", "before", "after"], "steps")
    phases = joint.drop_duplicates(["run", "epoch", "phase"]).groupby(keys, observed=True)
    steps = phases["phase_steps"].sum().astype(float).rename("all").reset_index()
    found = found.merge(steps, on=keys)
    return found.assign(share=found["share"] * found["steps"] / found["all"]).drop(columns="all")


def usage(frames: Frames, *by: str) -> pd.DataFrame:
    """The data that each task saw: means over seeds; over all epochs, or of each one.

    Columns of an epoch end in ``_per_epoch`` where ``by`` has no epoch.
    """
    keys = ["method", *by, "task"]
    if "epoch" in by:
        return frames.epochs.groupby(keys, observed=True)[USED].mean().reset_index()
    whole = frames.scores.groupby(keys, observed=True)[USED].mean()
    each = frames.epochs.groupby(keys, observed=True)[USED].mean()
    return whole.join(each.add_suffix("_per_epoch")).dropna(subset="examples").reset_index()


def costs(frames: Frames) -> pd.DataFrame:
    """Examples and seconds of each phase's epoch, and seconds per 1,000 examples.

    Means over the seeds that have the phase, and NAME_sd.
    """
    by, epochs = ["method", "phase"], frames.runs.set_index("run")["last_epoch"].astype(float)
    sums = frames.phases.groupby(["run", *by], observed=True)[["examples", "seconds"]].sum()
    sums = sums[sums["examples"] > 0].astype(float)
    each = sums.div(epochs.reindex(sums.index.get_level_values("run")).to_numpy(), axis=0)
    each["seconds_per_1000"] = 1000 * sums["seconds"] / sums["examples"]
    groups = each.groupby(by, observed=True)
    found = groups.mean().join(groups.std().add_suffix("_sd"))
    return found.assign(seeds=groups["examples"].size()).reset_index()


def imbalance(frames: Frames) -> pd.DataFrame:
    """Scores against the ratio of sizes, of settings that differ in ``data.imbalance`` alone.

    Columns: series, setting, ratio, method (as it is called at every ratio: B may follow the
    sizes, and of several B the largest stands for it), seed, what (score, worst task or a task),
    value.
    """
    names = ["series", "setting", "ratio", "method", "seed", "what", "value"]
    parts = [pd.DataFrame(columns=names)]
    for series, rows in frames.settings.groupby("alike"):
        for letter in rows["setting"] if series and len(rows) > 1 else ():
            c = compared(frames, letter)
            along: dict[str, str] = {}
            for method in sorted(c.trained, key=lambda m: c.kinds[m].drawn or 0):
                along[_along(c.kinds[method])] = method
            for name, method in along.items():
                own = c.of(method).set_index("run")
                values = own.rename(columns={"worst": WORST, "imbalance": "ratio"})
                tasks = c.frames.scores[c.frames.scores["method"] == method]
                tasks = tasks.pivot(index="run", columns="task", values="value")
                wide = values[["ratio", "seed", SCORE, WORST]].join(tasks)
                long = wide.melt(["ratio", "seed"], var_name="what")
                parts.append(long.assign(series=series, setting=letter, method=name)[names])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _along(method: Method) -> str:
    """What a method is called at every ratio."""
    return method.short("B") + (", any B" if method.B is not None else "")


def imbalance_answers(frames: Frames, margin: float) -> list[str]:
    """Where ARRP stands against each other method at the most unequal sizes, and what changed.

    That one difference is significant and another is not says nothing of their difference, so the
    change between the ends is a test of its own, paired by seed.
    """
    said = []
    for _, found in imbalance(frames).groupby("series"):
        scores = found[found["what"] == SCORE]
        least, most = scores["ratio"].min(), scores["ratio"].max()
        wide = scores.pivot(index="seed", columns=["ratio", "method"], values="value")
        c = compared(frames, scores.loc[scores["ratio"] == most, "setting"].iloc[0], margin)
        own = {_along(c.kinds[m]): m for m in c.trained}
        arrps = [name for name, method in own.items() if c.kinds[method].sampler == "arrp"]
        for arrp, other in product(arrps, own.keys() - set(arrps)):
            verdict = c.difference(own[arrp], own[other]).verdict(margin)
            text = f"{arrp} against {other}: {verdict} at {most:g} : 1"
            if all(key in wide for key in product((least, most), (arrp, other))):
                ends = [wide[ratio][arrp] - wide[ratio][other] for ratio in (least, most)]
                change = paired((ends[1] - ends[0]).dropna().to_numpy(float), margin)
                if change.n > 1:
                    low, high = (write("low", end) for end in change.interval)
                    shown = "significant" if change.interval.sign else "not significant"
                    text += (
                        f"; from {least:g} : 1 the difference changed by "
                        f"{write('difference', change.mean)} ({low} to {high}, {shown})"
                    )
            said.append(text)
    return sorted(said)
