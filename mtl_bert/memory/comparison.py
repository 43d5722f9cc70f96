"""What several samplers make of the same training sets, side by side."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from mtl_bert.memory.preview import Preview
from mtl_bert.sampling.epoch import rows_used


class Share(NamedTuple):
    """What a sampler makes of one task, over the epochs that can be known beforehand.

    Attributes:
        sampler: its name.
        steps: of an epoch, in the mean over epochs.
        task: its name.
        examples: of the task in an epoch, in the mean.
        passes: through its training set in an epoch, in the mean.
        seen: of the training set in all these epochs, from 0 to 1.
    """

    sampler: str
    steps: float
    task: str
    examples: float
    passes: float
    seen: float


def shares(preview: Preview) -> list[Share]:
    """A line for each task."""
    used = {task: np.zeros(size, np.int64) for task, size in preview.sizes.items()}
    steps = epochs = 0
    for epoch in preview:
        epochs, steps = epochs + 1, steps + len(epoch.steps)
        for task, times in used.items():
            times += np.bincount(rows_used(epoch.steps, task), minlength=len(times))
    name = preview.settings.sampler["name"]
    return [
        Share(
            name,
            steps / epochs,
            task,
            float(times.sum()) / epochs,
            float(times.mean()) / epochs,
            float((times > 0).mean()),
        )
        for task, times in used.items()
    ]


def compared(previews: Sequence[Preview]) -> Table:
    """A group of rows for each sampler."""
    settings, notes = previews[0].settings, []
    title = f"batch_size={settings.step_size}, epochs={settings.epochs}, {previews[0].origin}"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in ("sampler", "steps an epoch", "task", "examples an epoch", "passes", "seen in all"):
        table.add_column(name, justify="left" if name in ("sampler", "task") else "right")
    for preview in previews:
        for place, line in enumerate(shares(preview)):
            lead = ("", "") if place else (line.sampler, f"{line.steps:,.0f}")
            told = f"{line.examples:,.0f}", f"{line.passes:.2f}", f"{100 * line.seen:.1f} %"
            table.add_row(*lead, line.task, *told)
        table.add_section()
        if preview.decides and settings.epochs > 1:
            name = preview.settings.sampler["name"]
            notes.append(f"{name}: epoch 1 only; the others are decided by {preview.decides}")
    table.caption = "\n".join(notes) or None
    return table
