"""Give a run's model away: ``mtl-bert export RUN OUT``."""

import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mtl_bert.utils import console
from mtl_bert.utils.console import Checkpoint, ModelPath, RunDir, Trust
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.logging import plain_messages

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.export")


@app.command(cls=console.Command, epilog=f"Example: mtl-bert export {console.EXAMPLE} my-model")
def export(
    run: RunDir,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="a new or empty directory")],
    checkpoint: Checkpoint = "best",
    model_path: ModelPath = None,
    trust: Trust = None,
) -> None:
    """Write a run's model as a directory for transformers.

    AutoModel.from_pretrained(OUT) loads the encoder, AutoTokenizer.from_pretrained(OUT) its
    tokenizer; heads.safetensors and heads.json beside them are the tasks' heads, and README.md says
    how to use all three in ten lines. With sampler=single, OUT has a directory for each task.
    """
    from mtl_bert.inference.opened import Run

    opened = Run.open(run, checkpoint, model_path=model_path, trust=trust)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"OUT: expected a new or empty directory, found {out}; write another")
    plain_messages(logging.WARNING)
    # Torch takes seconds to import: a command that is wrong is refused before that.
    from mtl_bert.inference.transformers_export import export

    export(opened, out)
    print(f"written to {out}; {out}/README.md says how to use it")


if __name__ == "__main__":
    main()
