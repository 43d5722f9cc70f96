"""Score a finished run again: ``python -m mtl_bert.evaluate run=DIR``."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mtl_bert import cli
from mtl_bert.config import ConfigError, read_settings
from mtl_bert.reporting.results import Results, Scores

CHECKPOINTS = ("best", "last")


def main() -> None:
    """The command."""
    cli.run("evaluate", lambda config, _: run(config))


def run(config: DictConfig) -> None:
    """Evaluate a run's checkpoint on its dev sets and say whether the recorded scores return."""
    from rich.console import Console

    from mtl_bert.reporting.summary import scores_table

    directory, checkpoint = _chosen(config)
    recorded = Results.model_validate_json((directory / "results.json").read_text("utf-8"))
    scores = evaluate(directory, checkpoint)
    before: Results | Scores = recorded if checkpoint == "best" else recorded.last
    console = Console(highlight=False)
    rows = {f"{checkpoint} checkpoint, now": scores, "as recorded": before}
    console.print(scores_table(f"{directory}", rows, scores))
    same = scores.score == before.score and scores.tasks == before.tasks
    console.print(
        "the numbers are the recorded ones"
        if same
        else f"the numbers differ from the recorded ones (made on {recorded.device})"
    )


def evaluate(directory: Path, checkpoint: str = "best") -> Scores:
    """The scores of a run's checkpoint on its dev sets.

    Args:
        directory: of a run.
        checkpoint: best or last.
    """
    import torch

    from mtl_bert.assembly import assemble, make_trainer

    settings = read_settings(OmegaConf.load(directory / "config.yaml"))  # type: ignore[arg-type]
    parts = assemble(settings, splits=["dev"])
    path = directory / "checkpoints" / f"{checkpoint}.ckpt"
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    parts.module.load_state_dict(state)
    trainer = make_trainer(settings, directory, [], [])
    trainer.validate(parts.module, parts.datamodule, verbose=False)
    assert parts.module.evaluation is not None
    return parts.module.evaluation.scores


def _chosen(config: DictConfig) -> tuple[Path, str]:
    if config.run is None or not (Path(config.run) / "results.json").is_file():
        found = "nothing" if config.run is None else f"no results.json in {config.run}"
        raise ConfigError(
            f"run: expected the directory of a finished run, found {found}; write run=DIR"
        )
    if config.checkpoint not in CHECKPOINTS:
        raise ConfigError(
            f"checkpoint: expected {' or '.join(CHECKPOINTS)}, found {config.checkpoint!r}; "
            "write checkpoint=best"
        )
    return Path(config.run), str(config.checkpoint)


if __name__ == "__main__":
    main()
