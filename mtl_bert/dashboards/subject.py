"""Which runs dashboards are about, and what their metrics are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtl_bert.errors import UserError
from mtl_bert.reporting.heads import Classes, Scale, head_of


@dataclass(frozen=True)
class Subject:
    """Runs in a project.

    Attributes:
        entity: the user or team whose project it is.
        project: its name.
        tasks: the runs' tasks, as settings say.
        run: the one that the run's workspace shows; None shows all.
    """

    entity: str
    project: str
    tasks: Mapping[str, Mapping[str, Any]]
    run: str | None = None

    @property
    def scores(self) -> list[str]:
        """The tasks' dev scores."""
        return [f"dev/{task}/{node['metric_name']}" for task, node in self.tasks.items()]

    @property
    def images(self) -> list[str]:
        """The figures of the best epoch's answers."""
        heads = {task: head_of(dict(node)) for task, node in self.tasks.items()}
        confusion = [f"answers/confusion/{t}" for t, h in heads.items() if isinstance(h, Classes)]
        return confusion + [
            f"answers/scatter/{t}" for t, h in heads.items() if isinstance(h, Scale)
        ]

    @property
    def mistakes(self) -> list[str]:
        """The tables of wrong answers."""
        return [f"answers/mistakes/{task}" for task in self.tasks]


def run_id(directory: Path) -> str:
    """The id of the W&B run that a run's directory holds, the newest where it was resumed.

    Raises:
        UserError: it holds none.
    """
    found = sorted(directory.glob("wandb/*run-*/run-*.wandb"))
    if not found:
        raise UserError(
            f"--run: expected the directory of a run with logger=wandb, found no W&B run in "
            f"{directory}; write a run's directory that has wandb in it"
        )
    return found[-1].stem.removeprefix("run-")
