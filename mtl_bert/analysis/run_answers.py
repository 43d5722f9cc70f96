"""What people ask of a run, answered from its numbers; or why they do not say.

A sentence says what was counted and nothing about why. What chance would make stands beside what
was found, since a negative cosine alone is no news.
"""

from dataclasses import dataclass
from functools import cached_property

from mtl_bert.analysis import numbers, paper
from mtl_bert.analysis.data_usage import entries
from mtl_bert.analysis.fairness import single_of
from mtl_bert.analysis.gradient_conflicts import Joint, Layers, joint, steps_alone
from mtl_bert.analysis.gradient_conflicts import layers as layers_of
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Group, Study, phases_of, row_of
from mtl_bert.runs.results import PhaseRecord, Results

LAYERS = "trainer.layers_every=50"
NOTHING = "Nothing can be said: "
NEVER_MET = f"{NOTHING}no step had two tasks, so their gradients never met."


@dataclass(frozen=True, eq=False)
class Findings:
    """What the answers are made of.

    Attributes:
        study: the run's setting.
        run: it itself.
    """

    study: Study
    run: Run

    @property
    def results(self) -> Results:
        """The run's."""
        return self.run.results

    @cached_property
    def phases(self) -> list[PhaseRecord]:
        """Of all epochs."""
        return phases_of(self.results)

    @cached_property
    def whole(self) -> Joint | None:
        """The run's joint steps, if there are any."""
        return joint(self.phases, self.study.tasks)

    @cached_property
    def epochs(self) -> dict[int, Joint]:
        """Those of each epoch that had some."""
        each = {epoch.epoch: joint(epoch.phases, self.study.tasks) for epoch in self.results.epochs}
        return {epoch: steps for epoch, steps in each.items() if steps is not None}

    @cached_property
    def layers(self) -> Layers:
        """Parts of the encoder, over all epochs."""
        return layers_of(self.phases, self.study.tasks)


def answers(found: Findings) -> tuple[tuple[str, str], ...]:
    """Each question with its answer."""
    if not found.results.epochs:
        return (("What happened?", "Nothing was trained."),)
    return (
        ("Do the tasks conflict?", conflict(found)),
        ("When?", when(found)),
        ("In which parts of the encoder?", layers(found)),
        ("Who dominates the update?", dominance(found)),
        ("What did the method change?", change(found)),
        ("How much of the data was used?", use(found)),
        ("Was it worth the time?", worth(found)),
    )


def conflict(found: Findings) -> str:
    """How often, and which pair most."""
    joint = found.whole
    if joint is None:
        return NEVER_MET
    words = [
        f"In {_steps(joint.conflicting, joint.steps)} at least two tasks' gradients pointed "
        "against each other."
    ]
    name = joint.sharpest
    pair = joint.pairs[name]
    if len(joint.pairs) > 1:
        words.append(
            f"Most often {_pair(name)}: in {numbers.percent(pair.conflicting)} of the steps that "
            f"had both, with a mean cosine of {numbers.metric(pair.cosine)}."
        )
        least = min(joint.pairs, key=lambda p: joint.pairs[p].conflicting)
        if joint.pairs[least].conflicting < pair.conflicting:
            words.append(
                f"Least often {_pair(least)}: {numbers.percent(joint.pairs[least].conflicting)}, "
                f"mean cosine {numbers.metric(joint.pairs[least].cosine)}."
            )
    else:
        words.append(f"The mean cosine of {_pair(name)} was {numbers.metric(pair.cosine)}.")
    chance = 1 - 0.5 ** len(joint.pairs)
    words.append(
        "Gradients that have nothing to do with each other would do so in about half of the steps "
        "for each pair"
        + (
            f", and some pair in about {numbers.percent(chance)} of them."
            if len(joint.pairs) > 1
            else "."
        )
    )
    return " ".join(words)


def when(found: Findings) -> str:
    """The first and the last epoch that had joint steps, and the extremes."""
    if found.whole is None:
        return NEVER_MET
    shares = {epoch: joint.conflicting for epoch, joint in found.epochs.items()}
    first, last = min(shares), max(shares)
    if first == last:
        return (
            f"Only epoch {first} had joint steps ({numbers.percent(shares[first])} of them in "
            "conflict), so nothing can be said about a course."
        )
    words = [
        f"In epoch {first}, {numbers.percent(shares[first])} of the joint steps were in conflict, "
        f"in epoch {last}, {numbers.percent(shares[last])}."
    ]
    if len(shares) > 2:
        most, least = max(shares, key=lambda e: shares[e]), min(shares, key=lambda e: shares[e])
        words.append(
            f"Most were in epoch {most} ({numbers.percent(shares[most])}), fewest in epoch {least} "
            f"({numbers.percent(shares[least])})."
        )
    pair = found.whole.sharpest
    met = [found.epochs[epoch].pairs.get(pair) for epoch in (first, last)]
    ends = [each.cosine for each in met if each is not None]
    if len(ends) == 2:
        words.append(
            f"The mean cosine of {_pair(pair)} went from {numbers.metric(ends[0])} to "
            f"{numbers.metric(ends[1])}."
        )
    return " ".join(words)


def layers(found: Findings) -> str:
    """The parts with most and least conflict."""
    if not found.layers:
        return (
            f"{NOTHING}parts were not looked at one by one. {LAYERS} does so in every 50th joint "
            "step; it changes no numbers."
        )
    fields = [
        (part, name, pair) for part, pairs in found.layers.items() for name, pair in pairs.items()
    ]
    steps = max(pair.steps for _, _, pair in fields)
    lowest = min(fields, key=lambda field: field[2].cosine)
    highest = max(fields, key=lambda field: field[2].cosine)
    words = [
        f"{part}, {_pair(name)} (mean cosine {numbers.metric(pair.cosine)}, "
        f"{numbers.percent(pair.conflicting)} of the steps in conflict)"
        for part, name, pair in (lowest, highest)
    ]
    return (
        f"Over {numbers.counted(steps, 'step')} that were looked at, gradients agreed least in "
        f"{words[0]} and most in {words[1]}."
    )


def dominance(found: Findings) -> str:
    """The parts of the joint update, and the steps of one task alone."""
    joint = found.whole
    alone = steps_alone(found.phases)
    others = ", ".join(f"{task} {n:,}" for task, n in alone.items())
    if joint is None:
        if not alone:
            return NEVER_MET
        return f"Every step was of one task alone, whose update it is: {others} steps."
    parts = sorted(joint.parts.items(), key=lambda part: -part[1])
    shown = ", ".join(f"{task} {numbers.percent(part)}" for task, part in parts)
    lengths = ", ".join(f"{task} {part.norm:.3g}" for task, part in joint.tasks.items())
    words = [
        f"{parts[0][0]} has the largest part of the joint steps' update: {shown} "
        f"(equal parts would be {numbers.percent(1 / len(parts))}).",
        f"The gradients' mean lengths: {lengths}.",
    ]
    if alone:
        words.append(
            f"Besides {numbers.counted(joint.steps, 'joint step')} there were steps of one task "
            f"alone: {others}."
        )
    return " ".join(words)


def change(found: Findings) -> str:
    """What surgery removed, and whom the update agrees with more or less than the plain sum."""
    joint = found.whole
    if joint is None:
        return NEVER_MET
    size = numbers.percent(abs(joint.removed))
    if abs(joint.removed) < 0.0005:
        removed = "The update was as long as the plain sum of the gradients, on average."
    else:
        word = "shorter" if joint.removed > 0 else "longer"
        removed = f"The update was {size} {word} than the plain sum of the gradients, on average."
    agreements = ", ".join(
        f"{task} {numbers.metric(part.before)} → {numbers.metric(part.after)}"
        for task, part in joint.tasks.items()
    )
    return (
        f"{removed} The cosine of each task's gradient with the plain sum, and with the update: "
        f"{agreements}."
    )


def use(found: Findings) -> str:
    """Examples, different ones, effective epochs."""
    return "; ".join(
        f"{e.task}: {e.unique:,.0f} of {e.size:,} examples at least once "
        f"({numbers.percent(e.fraction)}), {e.examples:,.0f} with repeats, which are "
        f"{numbers.ratio(e.effective_epochs)} effective epochs"
        for e in entries(found.results, found.study.tasks)
        if e.epoch is None
    ) + "."  # fmt: skip


def worth(found: Findings) -> str:
    """Score and time against round-robin's, or the single-task models'."""
    results = found.results
    words = [
        f"Training took {numbers.minutes(results.minutes_per_epoch)} minutes per epoch; the dev "
        f"score is {numbers.metric(results.score)} (best epoch, {results.best_epoch} of "
        f"{results.last_epoch})."
    ]
    if results.untrained is not None:
        words.append(f"Untrained it was {numbers.metric(results.untrained.score)}.")
    groups = [g for g in found.study.groups if g.trained and g.epochs == found.run.epochs]
    own = next((g for g in groups if found.run in g.runs), None)
    for name, other in (
        ("Round-robin", row_of(groups, paper.row(2, "rr"))),
        ("One encoder per task", single_of(found.study)),
    ):
        if other is not None and other is not own and other in groups:
            words.append(_against(found.run, name, other))
            break
    else:
        words.append(
            "There is no run of round-robin or of single-task models beside it in this setting, so "
            "whether that is much cannot be said."
        )
    return " ".join(words)


def _against(run: Run, name: str, other: Group) -> str:
    results = run.results
    score, minutes = other.mean(), float(other.minutes.mean())
    words = (
        f"{name} in the same setting has {numbers.metric(score)} "
        f"(n={other.n}): {numbers.change(results.score - score)}"
    )
    if other.devices != {results.device}:
        words += "; it ran on another device, so times say nothing"
    elif minutes > 0:
        words += f" for {numbers.ratio(results.minutes_per_epoch / minutes)} times its minutes"
    return (
        f"{words}. This is one seed; the report's “Is the difference real?” judges methods by all "
        "of theirs."
    )


def _steps(share: float, steps: int) -> str:
    return f"{numbers.percent(share)} of {numbers.counted(steps, 'joint step')}"


def _pair(name: str) -> str:
    return " and ".join(name.split("/"))
