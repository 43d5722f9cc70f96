"""What runs say: frames of their numbers, comparisons with their certainty, and charts.

    from mtl_bert import analysis

    runs = analysis.runs("runs")                      # a row for each run
    analysis.compare(runs, "arrp", "annealed")        # differences, intervals, verdicts
    analysis.figure.tradeoff(runs)                    # an Altair chart

Every function takes directories of runs, or some rows of the frame ``runs``; its columns and those of
all other frames are documented in ``docs/reference/frames.md``. Nothing here needs torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from mtl_bert.analysis.frames import Frames, Source, read

if TYPE_CHECKING:
    from mtl_bert.analysis import figures as figure
    from mtl_bert.analysis.leaderboard import compare, leaderboard, recommend

__all__ = [
    "Frames", "compare", "conflicts", "epochs", "figure", "influences", "leaderboard", "phases",
    "predictions", "read", "recommend", "runs", "scores", "settings",
]  # fmt: skip


def runs(*sources: Source) -> pd.DataFrame:
    """A row for each run; ``superseded`` marks those that a newer run of the same replaces."""
    return read(*sources).runs


def settings(*sources: Source) -> pd.DataFrame:
    """A row for each setting; only runs of one setting may be compared."""
    return read(*sources).settings


def scores(*sources: Source) -> pd.DataFrame:
    """A row for each run and task: the best epoch's metric, and the data that were used."""
    return read(*sources).scores


def epochs(*sources: Source) -> pd.DataFrame:
    """A row for each run, epoch and task."""
    return read(*sources).epochs


def phases(*sources: Source) -> pd.DataFrame:
    """A row for each run, epoch and phase: steps, examples, seconds."""
    return read(*sources).phases


def conflicts(*sources: Source) -> pd.DataFrame:
    """A row for each run, epoch, phase, part of the encoder and pair of tasks that met."""
    return read(*sources).conflicts


def influences(*sources: Source) -> pd.DataFrame:
    """A row for each run, epoch, phase and task: its part in the updates."""
    return read(*sources).influences


def predictions(*sources: Source) -> pd.DataFrame:
    """A row for each run, task and dev example."""
    return read(*sources).predictions()


def __getattr__(name: str) -> Any:
    """Import what needs scipy and Altair when it is first asked for."""
    if name == "figure":
        return import_module("mtl_bert.analysis.figures")
    if name in ("compare", "leaderboard", "recommend"):
        return getattr(import_module("mtl_bert.analysis.leaderboard"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
