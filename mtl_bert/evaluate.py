"""Score a finished run again: ``mtl-bert evaluate RUN``."""

from functools import partial

from mtl_bert.utils import console
from mtl_bert.utils.console import Checkpoint, DataDir, ModelPath, RunDir, Trust

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.evaluate")


@app.command(cls=console.Command, epilog=f"Example: mtl-bert evaluate {console.EXAMPLE}")
def evaluate(
    run: RunDir,
    checkpoint: Checkpoint = "best",
    data_dir: DataDir = None,
    model_path: ModelPath = None,
    trust: Trust = None,
) -> None:
    """Score a finished run again, and compare with what it recorded."""
    from mtl_bert.inference.opened import Run

    opened = Run.open(run, checkpoint, data_dir=data_dir, model_path=model_path, trust=trust)
    # Torch takes seconds to import: a command that is wrong is refused before that.
    from mtl_bert.runs.summary import scores_table, title_of
    from mtl_bert.training.build import assemble, make_trainer
    from mtl_bert.utils.screen import Screen

    parts = assemble(opened.settings, splits=["dev"])
    opened.load_into(parts.module.model)
    trainer = make_trainer(opened.settings, opened.path)  # on whatever device there is
    trainer.validate(parts.module, parts.datamodule, verbose=False)
    assert parts.module.evaluation is not None
    scores, recorded = parts.module.evaluation.scores, opened.results
    before = opened.recorded
    columns = {f"{checkpoint}\nnow": scores, "as\nrecorded": before}
    out = Screen()
    out.print(scores_table(title_of(recorded), columns))
    same = scores.score == before.score and scores.tasks == before.tasks
    differ = f"the numbers differ from the recorded ones (made on {recorded.device})"
    out.print("the numbers are the recorded ones" if same else differ)


if __name__ == "__main__":
    main()
