"""What tasks do to each other, drawn: over epochs, over the encoder's parts, and by method.

Shapes: E epochs, M methods, P pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from mtl_bert.analysis import numbers, style
from mtl_bert.analysis.conflicts import Joint, Layers
from mtl_bert.analysis.document import Figure
from mtl_bert.analysis.figures.canvas import Legend, Words, draw, log_ticks
from mtl_bert.analysis.figures.heat import CONFLICTS, cosines, paint_bar, paint_heat
from mtl_bert.analysis.statistics import Floats
from mtl_bert.analysis.subject import Subject
from mtl_bert.runs.results import Influence, PairConflict

COSINES, SHARES = "mean cosine", "% of steps in conflict"
COLOURS = "Red: gradients point against each other on average; blue: the same way."
HOW = (
    "A step is in conflict for a pair where the cosine is negative; for gradients that have "
    "nothing to do with each other that is so in about half of the steps."
)
_ROW = 0.23  # inches
_STEEP = 20  # a ratio that only a scale of powers can show

Epochs = Mapping[int, Joint]
"""Epoch -> its joint steps."""


def course_figure(found: Epochs, pairs: Sequence[str], subject: Subject) -> Figure:
    """Pairs against epochs: mean cosine and share of steps in conflict."""
    epochs = range(min(found), max(found) + 1)

    def table(of: Callable[[PairConflict], float]) -> Floats:
        values = np.full((len(pairs), len(epochs)), np.nan)
        for column, epoch in enumerate(epochs):
            met = found[epoch].pairs if epoch in found else {}
            for row, pair in enumerate(pairs):
                if pair in met:
                    values[row, column] = of(met[pair])
        return values

    cosine, share = table(lambda p: p.cosine), table(lambda p: p.conflicting)

    def paint(canvas: Canvas) -> None:
        upper, lower = canvas.subplots(2, 1, sharex=True)
        names = [str(epoch) for epoch in epochs]
        for axes, values, scale in ((upper, cosine, cosines(cosine)), (lower, share, CONFLICTS)):
            paint_heat(axes, values, pairs, names, scale)
            paint_bar(canvas, axes, scale)
        upper.set_title(COSINES)
        lower.set(title=SHARES, xlabel="epoch")

    return draw(
        Words(
            "conflicts", "Conflicts over the epochs", subject,
            f"Heat maps of {', '.join(pairs)} over epochs {epochs[0]} to {epochs[-1]}: {COSINES} "
            f"and {SHARES}; the table below has the numbers.",
            f"{COLOURS} {HOW}",
        ),
        paint,
        height=1.1 + 2 * max(_ROW * len(pairs), 0.4),
        files=False,
    )  # fmt: skip


def parts_figure(found: Epochs, tasks: Sequence[str], subject: Subject) -> Figure:
    """Each task's gradient and its part in the update, and what the method removed, over epochs."""
    looks, legend = style.task_looks(tasks), Legend(tuple(tasks))

    def lines(axes: Axes, of: Callable[[Influence], float], line: object = "-") -> list[float]:
        seen: list[float] = []
        for task in tasks:
            points = [(e, of(j.tasks[task])) for e, j in found.items() if task in j.tasks]
            _line(axes, points, looks[task].colour, looks[task].marker, line, task)
            seen += [y for _, y in points]
        return seen

    def paint(canvas: Canvas) -> None:
        (norm, part), (agreement, removed) = canvas.subplots(2, 2, sharex=True)
        norms = lines(norm, lambda t: t.norm)
        if min(norms, default=0) > 0 and max(norms) > _STEEP * min(norms):
            ticks = log_ticks(min(norms), max(norms))
            norm.set_yscale("log")
            norm.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            norm.minorticks_off()
        for task in tasks:
            points = [(e, 100 * j.parts[task]) for e, j in found.items() if task in j.parts]
            _line(part, points, looks[task].colour, looks[task].marker, "-", task)
        part.axhline(100 / len(tasks), color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
        lines(agreement, lambda t: t.before, (0, (4, 2)))
        lines(agreement, lambda t: t.after)
        off = [(epoch, 100 * joint.removed) for epoch, joint in found.items()]
        _line(removed, off, style.INK, "o", "-", "")
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


def layers_figure(found: Layers, pairs: Sequence[str], subject: Subject) -> Figure:
    """Parts of the encoder against pairs: mean cosine and share of steps in conflict."""
    rows = list(found)
    return draw(
        Words(
            "layers", "Conflicts by part of the encoder", subject,
            f"Heat maps of {counted(rows)} against {', '.join(pairs)}: {COSINES} and {SHARES}.",
            f"Over all epochs, in the steps that were looked at. {COLOURS} {HOW}",
        ),
        _pair_maps([found[name] for name in rows], rows, pairs),
        height=0.9 + _ROW * max(3, len(rows)),
        files=False,
    )  # fmt: skip


def methods_figure(
    name: str, found: Mapping[str, Mapping[str, PairConflict]], pairs: Sequence[str],
    subject: Subject,
) -> Figure:  # fmt: skip
    """Methods against pairs: mean cosine and share of steps in conflict."""
    rows = list(found)
    return draw(
        Words(
            name, "Conflicts by method", subject,
            f"Heat maps of {numbers.counted(len(rows), 'method')} against "
            f"{', '.join(pairs)}: {COSINES} and {SHARES}; the table has the numbers.",
            f"Means over seeds, of all joint steps. {COLOURS} {HOW}",
        ),
        _pair_maps([found[label] for label in rows], rows, pairs),
        height=0.9 + _ROW * max(3, len(rows)),
    )  # fmt: skip


def counted(parts: Sequence[str]) -> str:
    """The encoder's parts from the first to the last."""
    return f"{numbers.counted(len(parts), 'part')} ({parts[0]} to {parts[-1]})"


def _pair_maps(
    found: Sequence[Mapping[str, PairConflict]], rows: Sequence[str], pairs: Sequence[str]
) -> Callable[[Canvas], None]:
    """Two maps side by side, of rows against pairs."""
    cosine, share = (
        np.array([[of(each[p]) if p in each else np.nan for p in pairs] for each in found])
        for of in (attrgetter("cosine"), attrgetter("conflicting"))
    )

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, sharey=True)
        names = [pair.replace("/", "/\n") for pair in pairs]
        for axes, values, scale in ((left, cosine, cosines(cosine)), (right, share, CONFLICTS)):
            paint_heat(axes, values, rows, names, scale)
            paint_bar(canvas, axes, scale)
        left.set_title(COSINES)
        right.set_title(SHARES)

    return paint


def _line(
    axes: Axes, points: Sequence[tuple[int, float]], colour: str, marker: str, line: object,
    label: str,
) -> None:  # fmt: skip
    axes.plot(
        [x for x, _ in points], [y for _, y in points], color=colour, marker=marker, markersize=3,
        markevery=max(1, len(points) // 10), linestyle=line, label=label,
    )  # fmt: skip
