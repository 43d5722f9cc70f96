"""A finished run, opened again: what it was told to do, what it reached, where its weights are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl_bert.config.compose import saved_settings
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.runs.results import Results

if TYPE_CHECKING:
    from torch import nn

CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class FinishedRun:
    """A run and the checkpoint of it that is meant.

    Attributes:
        directory: the run's.
        settings: its own, but for one process on whatever device there is, and for where things
            lie now.
        results: what it reached.
        checkpoint: best or last.
    """

    directory: Path
    settings: Settings
    results: Results
    checkpoint: str

    @property
    def path(self) -> Path:
        """Where the checkpoint lies."""
        return self.directory / "checkpoints" / f"{self.checkpoint}.ckpt"

    def load_into(self, model: "nn.Module") -> None:
        """Give a model of the run's form the checkpoint's weights.

        Raises:
            ConfigError: a checkpoint that does not load.
        """
        from mtl_bert.runs.checkpoint import CheckpointError, read  # torch takes seconds

        try:
            model.load_state_dict(read(self.path)["state_dict"])
        except (CheckpointError, KeyError, RuntimeError, TypeError) as error:
            first = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
            other = CHECKPOINTS[self.checkpoint == CHECKPOINTS[0]]
            there = self.path.with_name(f"{other}.ckpt").exists()
            raise ConfigError(
                f"{self.path}: expected a checkpoint of this run, found one that does not load "
                f"({first}); write {f'checkpoint={other}' if there else 'another run'}"
            ) from error


def open_run(
    directory: Path, checkpoint: str = "best", moved: Mapping[str, Path | None] | None = None
) -> FinishedRun:
    """Open a run by its directory.

    Args:
        directory: the run's.
        checkpoint: best or last.
        moved: ``data.dir`` and ``model.path``, if they are not where the run found them.

    Raises:
        ConfigError: no finished run, or a damaged one.
    """
    if not (directory / "results.json").is_file():
        raise ConfigError(
            f"run: expected the directory of a finished run, found no results.json in {directory}; "
            "write for example runs/2026-01-31/12-00-00-arrp-seed1"
        )
    if checkpoint not in CHECKPOINTS:
        raise ConfigError(
            f"checkpoint: expected {' or '.join(CHECKPOINTS)}, found {checkpoint!r}; "
            "write checkpoint=best"
        )
    results = _results(directory / "results.json")
    changes: dict[str, Any] = {
        "trainer.accelerator": "auto",
        "trainer.devices": 1,
        "trainer.num_nodes": 1,
    }
    own = results.config
    for key, value in (moved or {}).items():
        group, _, name = key.partition(".")
        if value is None:
            continue
        if name not in own[group]["source"]:
            raise ConfigError(
                f"{key}: expected no value, as the run's {group} has none, found {value}; "
                "leave it out"
            )
        changes[f"{group}.source.{name}"] = str(value)
    settings = saved_settings(directory / "config.yaml", changes)
    return FinishedRun(directory, settings, results, checkpoint)


def _results(path: Path) -> Results:
    try:
        return Results.model_validate_json(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected the results of a run, found something else "
            f"({str(error).splitlines()[0]}); write another run"
        ) from error
