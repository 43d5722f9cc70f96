"""Score a finished run again: ``python -m mtl_bert.evaluate run=DIR``."""

from omegaconf import DictConfig

from mtl_bert.config import command_line
from mtl_bert.runs.opened import Run
from mtl_bert.runs.results import Results, Scores

KEYS = ("run", "checkpoint", "data.dir", "model.path")


def main() -> None:
    """The command."""
    command_line.run("evaluate", lambda config, _: run(config), keys=KEYS)


def run(config: DictConfig) -> None:
    """Evaluate a run's checkpoint on its dev sets and say whether the recorded scores return."""
    opened = Run.open(
        "." if config.run is None else str(config.run),
        str(config.checkpoint),
        data_dir=config.data.dir,
        model_path=config.model.path,
    )
    from rich.console import Console

    from mtl_bert.runs.summary import scores_table, title_of

    scores, recorded = evaluate(opened), opened.results
    before: Results | Scores = recorded if opened.checkpoint == "best" else recorded.last
    console = Console(highlight=False)
    rows = {f"{opened.checkpoint} checkpoint, now": scores, "as recorded": before}
    console.print(scores_table(title_of(recorded), rows, scores))
    same = scores.score == before.score and scores.tasks == before.tasks
    console.print(
        "the numbers are the recorded ones"
        if same
        else f"the numbers differ from the recorded ones (made on {recorded.device})"
    )


def evaluate(opened: Run) -> Scores:
    """The scores of a run's checkpoint on its dev sets, on whatever device there is.

    Raises:
        ConfigError: a checkpoint that does not load.
    """
    from mtl_bert.training.build import assemble, make_trainer

    parts = assemble(opened.settings, splits=["dev"])
    opened.load_into(parts.module)
    trainer = make_trainer(opened.settings, opened.path, [], [])
    trainer.validate(parts.module, parts.datamodule, verbose=False)
    assert parts.module.evaluation is not None
    return parts.module.evaluation.scores


if __name__ == "__main__":
    main()
