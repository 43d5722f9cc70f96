"""What runs say: frames of their numbers, comparisons with their certainty, and charts.

    from mtl_bert import analysis

    runs = analysis.runs("runs")                      # a row for each run
    analysis.compare(runs, "arrp", "annealed")        # differences, intervals, verdicts
    analysis.Comparison(runs).leaderboard()           # or .recommend(), in a sentence
    analysis.figure.tradeoff(runs)                    # an Altair chart

Every function takes directories of runs, or some rows of the frame ``runs``; the columns of all
frames are documented in ``docs/reference/frames.md``. Nothing here needs torch.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from mtl_bert.analysis.columns import FRAMES
from mtl_bert.analysis.frames import PER_RUN, Frames, Source, read

if TYPE_CHECKING:
    from mtl_bert.analysis import figures as figure
    from mtl_bert.analysis.leaderboard import Comparison, compare

__all__ = [
    "Comparison", "Frames", "compare", "conflicts", "epochs", "figure", "influences", "phases",
    "predictions", "read", "runs", "scores", "settings",
]  # fmt: skip


def _reader(name: str) -> Callable[..., pd.DataFrame]:
    def frame(*sources: Source | Frames) -> pd.DataFrame:
        found: Any = getattr(read(*sources), name)
        made: pd.DataFrame = found() if name == "predictions" else found
        return made

    frame.__name__, frame.__doc__ = name, FRAMES[name]
    return frame


runs, settings, scores, epochs, phases, conflicts, influences, predictions = (
    _reader(name) for name in ("runs", "settings", *PER_RUN, "predictions")
)


def __getattr__(name: str) -> Any:
    """Import what needs scipy and Altair when it is first asked for."""
    if name == "figure":
        return import_module("mtl_bert.analysis.figures")
    if name in ("Comparison", "compare"):
        return getattr(import_module("mtl_bert.analysis.leaderboard"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
