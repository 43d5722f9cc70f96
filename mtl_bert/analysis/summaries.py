"""What methods did, put together from the frames: conflicts, data used, costs, unequal sizes.

Steps are joint where several tasks are in them. Means are over steps, so that a phase or an epoch
counts by its length, and then over seeds.
"""

from collections.abc import Sequence

import pandas as pd

from mtl_bert.analysis.columns import write
from mtl_bert.analysis.frames import WHOLE, Frames
from mtl_bert.analysis.leaderboard import SCORE, Comparison
from mtl_bert.analysis.statistics import paired

USED = ["examples", "unique", "fraction", "repeats", "effective_epochs"]
WORST = "worst task"
METHOD = ("method",)


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
    keys = ("method", "seed", *by)
    joint = frames.influences[frames.influences["joint_steps"] > 0]
    found = _over_steps(joint, (*keys, "task"), ["norm", "share", "before", "after"], "steps")
    each = joint.drop_duplicates(["run", "epoch", "phase"])
    total = (
        each.groupby(list(keys), observed=True)["phase_steps"].sum().rename("_all").reset_index()
    )
    found = found.merge(total, on=list(keys))
    share = found["share"] * found["steps"] / found["_all"].astype(float)
    return found.assign(share=share).drop(columns="_all")


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
    by = ["method", "phase", "seed"]
    sums = frames.phases.groupby(by, observed=True)[["examples", "seconds"]].sum()
    sums = sums[sums["examples"] > 0].astype(float)
    epochs = frames.phases.groupby("run", observed=True)["epoch"].max()
    epochs = frames.runs.set_index("run")[["method", "seed"]].join(epochs)
    epochs = epochs.set_index(["method", "seed"])["epoch"].astype(float)
    each = sums.div(sums.index.droplevel("phase").map(epochs), axis=0)
    each["seconds_per_1000"] = 1000 * sums["seconds"] / sums["examples"]
    by_phase = each.groupby(by[:2], observed=True)
    found = by_phase.mean().join(by_phase.std().add_suffix("_sd"))
    return found.assign(seeds=by_phase.size()).reset_index()


def imbalance(frames: Frames) -> pd.DataFrame:
    """Scores against the ratio of sizes, of settings that differ in ``data.imbalance`` alone.

    Columns: series, setting, ratio, method (as it is called at every ratio: B may follow the
    sizes, and of several B the largest stands for it), seed, what (score, worst task, a task), value.
    """
    parts = []
    for series, rows in frames.settings.groupby("alike"):
        if not series or len(rows) < 2:
            continue
        for letter in rows["setting"]:
            own, about = frames.of(letter)
            runs = own.runs[
                (own.runs["epochs"] == about["main_epochs"]) & (own.runs["last_epoch"] > 0)
            ]
            runs = runs.assign(along=[_along(own, run) for run in runs["run"]])
            most = runs.groupby("along")["drawn"].transform("max")
            runs = runs[runs["drawn"].isna() | (runs["drawn"] == most)]
            wide = runs[["run", "seed", "along", "score", "worst"]].rename(
                columns={"score": SCORE, "worst": WORST, "along": "method"}
            )
            tasks = own.scores.pivot(index="run", columns="task", values="value")
            wide = wide.astype({"run": str}).merge(tasks.rename(index=str), on="run")
            parts.append(
                wide.melt(["run", "seed", "method"], var_name="what").assign(
                    series=series, setting=letter, ratio=float(runs["imbalance"].iloc[0])
                )
            )
    names = ["series", "setting", "ratio", "method", "seed", "what", "value"]
    return pd.concat(parts)[names] if parts else pd.DataFrame(columns=names)


def _along(frames: Frames, run: str) -> str:
    method = frames.methods[run]
    return method.short("B") + (", any B" if method.B is not None else "")


def imbalance_answers(frames: Frames, margin: float) -> list[str]:
    """Where ARRP stands against each other method at the most unequal sizes, and what changed.

    That one difference is significant and another is not says nothing of their difference, so the
    change between the ends is a test of its own, paired by seed.
    """
    said = []
    for _, found in imbalance(frames).groupby("series"):
        scores = found[found["what"] == SCORE]
        wide = scores.pivot(index="seed", columns=["method", "ratio"], values="value")
        least, most = scores["ratio"].min(), scores["ratio"].max()
        letter = scores.loc[scores["ratio"] == most, "setting"].iloc[0]
        comparison = Comparison(frames, letter, margin=margin)
        own = {_along(comparison.frames, comparison.of(m)["run"].iloc[0]): m
               for m in comparison.trained}  # fmt: skip
        arrps = [m for m in own if frames.methods[comparison.of(own[m])["run"].iloc[0]].sampler
                 == "arrp"]  # fmt: skip
        for arrp in arrps:
            for other in own:
                if other in arrps:
                    continue
                d = comparison.difference(own[arrp], own[other])
                text = f"{arrp} against {other}: {d.verdict(margin)} at {most:g} : 1"
                if all((m, r) in wide for m in (arrp, other) for r in (least, most)):
                    change = wide[arrp][most] - wide[other][most]
                    change = change - (wide[arrp][least] - wide[other][least])
                    ends = paired(change.dropna().to_numpy(float), margin)
                    if ends.n > 1:
                        text += (
                            f"; from {least:g} : 1 the difference changed by "
                            f"{write('difference', ends.mean)} ({write('low', ends.interval.low)} "
                            f"to {write('high', ends.interval.high)}, "
                            f"{'significant' if ends.interval.sign else 'not significant'})"
                        )
                said.append(text)
    return said
