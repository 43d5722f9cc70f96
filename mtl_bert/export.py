"""Give a run's model away: ``mtl-bert export RUN --to transformers --task sst --out DIR``."""

import logging
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtl_bert.utils import console
from mtl_bert.utils.console import Checkpoint, DataDir, ModelPath, RunDir, Trust
from mtl_bert.utils.errors import UserError, say
from mtl_bert.utils.logging import plain_messages

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.export")


EXAMPLES = f"""\b
Examples
  mtl-bert export {console.EXAMPLE} my-model
  mtl-bert export RUN --to transformers --task sst --out my-classifier
  mtl-bert export RUN --to onnx --quantize int8 --out my-service
"""
OUT = "a new or empty directory"
Quantize = Annotated[
    Literal["int8"] | None, typer.Option(help="The type of ONNX weights [default: fp32].")
]


@app.command(cls=console.Command, epilog=EXAMPLES)
def export(
    run: RunDir,
    place: Annotated[Path | None, typer.Argument(metavar="OUT", help=OUT)] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="OUT", help="The same as the argument OUT.")
    ] = None,
    to: Annotated[
        Literal["transformers", "onnx"], typer.Option(help="Which library the model is for.")
    ] = "transformers",
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="One task alone [default: all heads].")
    ] = None,
    quantize: Quantize = None,
    checkpoint: Checkpoint = "best",
    data_dir: DataDir = None,
    model_path: ModelPath = None,
    trust: Trust = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="Leave LoRA's changes beside the encoder, for peft.")
    ] = False,
) -> None:
    """Write a run's model for transformers or ONNX, with its card.

    AutoModel.from_pretrained(OUT) loads the encoder, AutoTokenizer.from_pretrained(OUT) its
    tokenizer; heads.safetensors and heads.json beside them are the tasks' heads, and README.md says
    how to use all three in ten lines. With sampler=single, OUT has a directory for each task.

    With --task, AutoModelForSequenceClassification and pipeline("text-classification", OUT) load
    that task's model. With --to onnx, OUT has one .onnx file with all heads, compared with
    the model itself on the dev set.
    """
    from mtl_bert.inference.opened import Run

    if (place is None) == (out is None):
        found = "nothing" if out is None else f"two, {place} and {out}"
        raise UserError(f"OUT: expected {OUT}, found {found}; write mtl-bert export RUN OUT")
    target = place or out
    assert target is not None
    opened = Run.open(run, checkpoint, data_dir=data_dir, model_path=model_path, trust=trust)
    plain_messages(logging.WARNING)
    for remark in opened.save(target, to, task=task, quantize=quantize, apart=apart):
        say(remark)
    say(f"written to {target}; {target}/README.md says how to use it")


if __name__ == "__main__":
    main()
