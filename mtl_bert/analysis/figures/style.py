"""How methods look in every figure: colour by sampler, marker and line by variant; and tasks.

Colours are Okabe and Ito's, which the colour-blind can tell apart. Ink and grid are colours that
nothing else has, so that a page can replace them by its own (see ``canvas.py``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from mtl_bert.analysis.methods import Method

INK, GRID, PAPER = "#1a1a1b", "#d4d4d5", "#fefefd"

COLOURS = {
    "rr": "#0072B2",
    "annealed": "#E69F00",
    "vanilla": "#009E73",
    "arrp": "#D55E00",
    "full": "#CC79A7",
    "single": "#56B4E9",
    "random": "#8A8A8A",
}
OTHER = "#A08A00"  # a darker yellow: Okabe and Ito's own is lost on white

TASKS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", OTHER)

PHASES = ("#332288", "#88CCEE", "#AA4499", "#DDCC77", "#117733", "#882255")  # Tol's: none a task's

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))

SIZES = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
}
RC: dict[str, Any] = {
    **SIZES,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "text.parse_math": False,  # names of runs and classes are no formulas
    "svg.fonttype": "path",
    "svg.hashsalt": "mtl_bert",  # the same figure gives the same file
}


@dataclass(frozen=True)
class Look:
    """A method's or task's colour, marker and line; hollow markers where something is frozen."""

    colour: str
    marker: str
    line: Any = "-"
    hollow: bool = False

    @property
    def fill(self) -> str:
        """Of the marker."""
        return "none" if self.hollow else self.colour

    def plot(self, axes: Axes, points: Sequence[tuple[float, float]], **more: Any) -> None:
        """Draw a curve through points of epochs, a marker at about ten of them."""
        axes.plot(
            [x for x, _ in points], [y for _, y in points], color=self.colour, marker=self.marker,
            markersize=3, markevery=max(1, len(points) // 10), **more,
        )  # fmt: skip


Looks = Mapping[Method, Look]


def looks_of(methods: Iterable[Method]) -> Looks:
    """The look of each method, for all figures of a report; the order given does not matter."""
    variants: defaultdict[str, list[Method]] = defaultdict(list)
    for method in sorted(set(methods), key=_variant):
        variants[method.sampler].append(method)
    return {
        method: Look(
            COLOURS.get(sampler, OTHER),
            MARKERS[number % len(MARKERS)],
            LINES[number % len(LINES)],
            bool(method.frozen),
        )
        for sampler, members in variants.items()
        for number, method in enumerate(members)
    }


def task_looks(tasks: Sequence[str]) -> Mapping[str, Look]:
    """The look of each task in figures of one run, by its place."""
    return {
        task: Look(TASKS[place % len(TASKS)], MARKERS[place % len(MARKERS)])
        for place, task in enumerate(tasks)
    }


def _variant(method: Method) -> tuple[Any, ...]:
    return (method.sampler, method.frozen, method.B or 0, method.lambda_ or 0.0, method.label)
