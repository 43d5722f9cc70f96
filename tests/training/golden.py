"""Losses of a short run, step by step: what a refactoring must not change.

``python -m tests.training.golden > tests/training/golden.json`` writes them anew where a change
of the algorithms, of the demo's text or of the tiny model is meant to change them.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from mtl_bert.training.build import assemble, make_trainer
from mtl_bert.training.meters import EpochSums
from tests.composing import settings_of

SAMPLERS = {
    "arrp": ("sampler=arrp", "B=32", "lambda=0.5"),
    "arrp_f1": ("sampler=arrp", "B=32", "lambda=0.5", "freeze=all_but_head"),
    "annealed": ("sampler=annealed", "B=48"),
}

SHORT = (
    "data.scale=0.004",
    "epochs=2",
    "batch_size=8",
    "optimizer=paper",
    "trainer.precision=64-true",
    *(f"tasks.{task}.sources.demo.dev=9" for task in ("sst", "qqp", "sts")),
)

Losses = list[dict[str, float]]


def losses(place: Path, *overrides: str) -> Losses:
    """Every step's losses by task."""
    noted: Losses = []
    add = EpochSums.add_losses

    def noting(self: EpochSums, losses: Mapping[str, float]) -> None:
        noted.append(dict(losses))
        add(self, losses)

    settings = settings_of(*SHORT, *overrides)
    parts = assemble(settings)
    with patch.object(EpochSums, "add_losses", noting):
        make_trainer(settings, place, [], []).fit(parts.module, parts.datamodule)
        parts.module.step_log.settle()  # of steps that a GPU has not been asked about
    return noted


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = {name: losses(Path(place), *chosen) for name, chosen in SAMPLERS.items()}
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")
