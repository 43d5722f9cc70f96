"""A run's training curves: losses, dev metrics, where time went and each task's part in updates."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures import style
from mtl_bert.analysis.figures.canvas import Legend, Words, draw, log_ticks
from mtl_bert.analysis.studies import SCORE, Subject
from mtl_bert.runs.results import Influence, Results, Scores

if TYPE_CHECKING:  # what is drawn, by the module that has these drawn
    from mtl_bert.analysis.gradient_conflicts import Joint

_STEEP = 20  # a ratio that only a scale of powers can show
_VALIDATION, _OTHER = "validation", "other"
_REST = {_OTHER: "#8A8A8A", _VALIDATION: "#C4C4C4"}  # what is no phase


def training_figure(results: Results, tasks: Sequence[str], subject: Subject) -> Figure:
    """Training loss, dev metrics and seconds of each epoch; at least one has been trained."""
    looks = style.task_looks(tasks)
    scores = scored(results)
    seconds = seconds_by_phase(results)
    legend = Legend((*tasks, SCORE))

    def paint(canvas: Canvas) -> None:
        losses, metrics, times = canvas.subplots(1, 3)
        for task in tasks:
            points = [(e.epoch, e.losses[task]) for e in results.epochs if task in e.losses]
            looks[task].plot(losses, points, label=task)
            points = [(s.epoch, s.tasks[task].value) for s in scores]
            looks[task].plot(metrics, points, label=task)
        metrics.plot(
            [s.epoch for s in scores], [s.score for s in scores], color=style.INK,
            linestyle=(0, (4, 2)), label=SCORE,
        )  # fmt: skip
        _bars(times, [epoch.epoch for epoch in results.epochs], seconds)
        losses.set(title="training loss", xlabel="epoch")
        metrics.set(title="dev metrics and score", xlabel="epoch")
        times.set(title="seconds", xlabel="epoch")
        for axes in (losses, metrics, times):
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend.paint(canvas, metrics)

    whole, on = "", "Epoch 0 is the untrained model."
    if (sample := results.dev_sample) is not None:
        whole = ", on whole dev sets"
        on = f"Epochs were scored on at most {sample:,} examples of each dev set."
    ends = ", ".join(f"{task} {score.value:.3f}" for task, score in results.last.tasks.items())
    return draw(
        Words(
            "course", "Losses, dev metrics and time", subject,
            f"Over {len(results.epochs)} epochs: each task's mean training loss, its dev metric, "
            f"and the seconds of each phase. After the last epoch{whole}: {ends}.",
            f"Losses are means over an epoch's examples. {on} Seconds are wall clock, stacked.",
        ),
        paint,
        height=2.2 + legend.height,
        files=False,
    )  # fmt: skip


def scored(results: Results) -> list[Scores]:
    """The evaluations that compare: the epochs', the untrained model's first if it is like them."""
    found = [epoch.scores for epoch in results.epochs]
    first = results.untrained if results.dev_sample is None else None
    return [scores for scores in (first, *found) if scores is not None]


def seconds_by_phase(results: Results) -> dict[str, list[float]]:
    """Seconds of each epoch: phase, what no phase took, validation -> [epochs]."""
    names = dict.fromkeys(phase.name for epoch in results.epochs for phase in epoch.phases)
    found = {
        name: [sum(p.seconds for p in e.phases if p.name == name) for e in results.epochs]
        for name in names
    }
    rest = [max(0.0, e.seconds - sum(p.seconds for p in e.phases)) for e in results.epochs]
    found[_OTHER] = rest
    found[_VALIDATION] = [epoch.validation_seconds for epoch in results.epochs]
    return found


def _bars(axes: Axes, epochs: Sequence[int], seconds: Mapping[str, Sequence[float]]) -> None:
    below = [0.0] * len(epochs)
    shown = {name: values for name, values in seconds.items() if any(values)}
    for place, (name, values) in enumerate(shown.items()):
        colour = _REST.get(name, style.PHASES[place % len(style.PHASES)])
        axes.bar(epochs, values, bottom=below, width=0.8, color=colour, label=name)
        below = [a + b for a, b in zip(below, values, strict=True)]
    axes.set_ylim(0, max(below, default=0) * (1.1 + 0.12 * len(shown)) or 1)  # room for names
    axes.legend(fontsize=5.5, loc="upper left", handlelength=1)
    axes.grid(visible=False, axis="x")


def parts_figure(found: "Mapping[int, Joint]", tasks: Sequence[str], subject: Subject) -> Figure:
    """Each task's gradient and its part in the update, and what the method removed, over epochs."""
    looks, legend = style.task_looks(tasks), Legend(tuple(tasks))

    def lines(axes: Axes, of: Callable[[Influence], float], line: object = "-") -> None:
        for task in tasks:
            points = [(e, of(j.tasks[task])) for e, j in found.items() if task in j.tasks]
            looks[task].plot(axes, points, linestyle=line, label=task)

    def paint(canvas: Canvas) -> None:
        (norm, part), (agreement, removed) = canvas.subplots(2, 2, sharex=True)
        lines(norm, lambda t: t.norm)
        norms = [t.norm for joint in found.values() for t in joint.tasks.values()]
        if min(norms) > 0 and max(norms) > _STEEP * min(norms):
            ticks = log_ticks(min(norms), max(norms))
            norm.set_yscale("log")
            norm.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            norm.minorticks_off()
        for task in tasks:
            points = [(e, 100 * j.parts[task]) for e, j in found.items() if task in j.parts]
            looks[task].plot(part, points, linestyle="-", label=task)
        part.axhline(100 / len(tasks), color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
        lines(agreement, lambda t: t.before, (0, (4, 2)))
        lines(agreement, lambda t: t.after)
        off = [(epoch, 100 * joint.removed) for epoch, joint in found.items()]
        style.Look(style.INK, "o").plot(removed, off, linestyle="-", label="")
        norm.set_title("length of the gradient")
        part.set_title("% of the update (dotted: equal parts)")
        agreement.set(title="cosine with sum (dashed) and update", xlabel="epoch")
        removed.set(title="% of the plain sum's length removed", xlabel="epoch")
        for axes in (norm, part, agreement, removed):
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        legend.paint(canvas, norm)

    return draw(
        Words(
            "parts", "Each task in the update", subject,
            f"Over epochs {min(found)} to {max(found)}, for {', '.join(tasks)}: the length of the "
            "gradient, the part of the update, the cosine of the gradient with the plain sum of "
            "all and with the update; and the share of the sum's length that the method removed.",
            "Joint steps only. Parts add up to 100 %; a task that pulls against the update has a "
            "negative one. Where the solid line lies above the dashed one of its colour, the "
            "update agrees more with the task than the plain sum of gradients would.",
        ),
        paint,
        height=3.3 + legend.height,
        files=False,
    )  # fmt: skip
