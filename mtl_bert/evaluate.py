"""Score a finished run again: ``python -m mtl_bert.evaluate run=DIR``."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mtl_bert import cli
from mtl_bert.config import read_settings
from mtl_bert.reporting.results import Results, Scores
from mtl_bert.settings import ConfigError

CHECKPOINTS = ("best", "last")
KEYS = ("run", "checkpoint", "data.dir", "model.path")


def main() -> None:
    """The command."""
    cli.run("evaluate", lambda config, _: run(config), keys=KEYS)


def run(config: DictConfig) -> None:
    """Evaluate a run's checkpoint on its dev sets and say whether the recorded scores return."""
    from rich.console import Console

    from mtl_bert.reporting.summary import scores_table, title_of

    directory, checkpoint = _chosen(config)
    recorded = _recorded(directory)
    moved = {"data": {"dir": config.data.dir}, "model": {"path": config.model.path}}
    scores = evaluate(directory, checkpoint, moved)
    before: Results | Scores = recorded if checkpoint == "best" else recorded.last
    console = Console(highlight=False)
    rows = {f"{checkpoint} checkpoint, now": scores, "as recorded": before}
    console.print(scores_table(title_of(recorded), rows, scores))
    same = scores.score == before.score and scores.tasks == before.tasks
    console.print(
        "the numbers are the recorded ones"
        if same
        else f"the numbers differ from the recorded ones (made on {recorded.device})"
    )


def evaluate(
    directory: Path, checkpoint: str = "best", moved: dict[str, dict[str, Any]] | None = None
) -> Scores:
    """The scores of a run's checkpoint on its dev sets, on whatever device there is.

    Args:
        directory: of a run.
        checkpoint: best or last.
        moved: where data and model lie now, if not where the run found them.

    Raises:
        ConfigError: a checkpoint that does not load.
    """
    from mtl_bert.assembly import assemble, make_trainer
    from mtl_bert.training.checkpoint import CheckpointError, read

    config: Any = OmegaConf.load(directory / "config.yaml")
    config.trainer = {**config.trainer, "accelerator": "auto", "devices": 1, "nodes": 1}
    for group, places in (moved or {}).items():
        for name, place in places.items():
            if place is not None:
                config[group].source[name] = place
    settings = read_settings(config)
    parts = assemble(settings, splits=["dev"])
    path = directory / "checkpoints" / f"{checkpoint}.ckpt"
    try:
        parts.module.load_state_dict(read(path)["state_dict"])
    except (CheckpointError, KeyError, RuntimeError, TypeError) as error:
        first = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{path}: expected a checkpoint of this run, found one that does not load ({first}); "
            f"write checkpoint={'last' if checkpoint == 'best' else 'best'}"
        ) from error
    trainer = make_trainer(settings, directory, [], [])
    trainer.validate(parts.module, parts.datamodule, verbose=False)
    assert parts.module.evaluation is not None
    return parts.module.evaluation.scores


def _chosen(config: DictConfig) -> tuple[Path, str]:
    directory = Path(str(config.run))
    if config.run is None or not (directory / "results.json").is_file():
        found = "nothing" if config.run is None else f"no results.json in {directory}"
        raise ConfigError(
            f"run: expected the directory of a finished run, found {found}; write run=DIR"
        )
    if config.checkpoint not in CHECKPOINTS:
        raise ConfigError(
            f"checkpoint: expected {' or '.join(CHECKPOINTS)}, found {config.checkpoint!r}; "
            "write checkpoint=best"
        )
    return directory, str(config.checkpoint)


def _recorded(directory: Path) -> Results:
    path = directory / "results.json"
    try:
        return Results.model_validate_json(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected the results of a run, found something else "
            f"({str(error).splitlines()[0]}); write another run=DIR"
        ) from error


if __name__ == "__main__":
    main()
