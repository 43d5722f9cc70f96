"""Answer with a finished run: ``mtl-bert predict RUN --input my.csv --output out.csv``."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtl_bert.utils import console
from mtl_bert.utils.console import Checkpoint, DataDir, ModelPath, RunDir, Trust
from mtl_bert.utils.errors import UserError, say
from mtl_bert.utils.logging import plain_messages

if TYPE_CHECKING:
    from mtl_bert.inference.opened import Run

EXAMPLES = f"""\b
Examples
  mtl-bert predict RUN --task sst --input my.csv --output out.csv
  mtl-bert predict RUN --task all --input - --text-column body < my.jsonl > out.jsonl
  mtl-bert predict {console.EXAMPLE} --split test
  mtl-bert predict RUN --task sst --text "A fine film."
  mtl-bert predict RUN --task qqp --text "Is it worth it?" --text2 "Is it, really?"
"""
SPLIT = typer.Option(help="Write the submission files of this split: every row, in its order.")
OUT = typer.Option(metavar="DIR", help="Where submission files go [default: RUN/submission].")
TASK = typer.Option(metavar="TASK", help="A task; all of them if not given.")
INPUT = typer.Option(
    "--input", metavar="FILE", help="Answer every row of a CSV, JSONL or Parquet file; - is stdin."
)
OUTPUT = typer.Option(
    metavar="FILE",
    help="Where the rows of --input go with their answers: .csv or .jsonl [default: stdout].",
)
COLUMN = typer.Option(metavar="COL", help="The column of the text in --input [default: text].")
COLUMN2 = typer.Option(metavar="COL", help="The column of a pair's second text [default: text2].")
CHANCES = typer.Option("--probabilities", help="Write the probability of every class, too.")
TEXT2 = typer.Option(metavar="TEXT", help="The second text of a pair.")
TEXTS = ("--text", "--text2")
ALL = "all"
app = console.application()
main = partial(console.run, app, "python -m mtl_bert.predict")


@app.command(cls=console.Command, epilog=EXAMPLES)
def predict(
    run: RunDir,
    split: Annotated[Literal["dev", "test"] | None, SPLIT] = None,
    out: Annotated[Path | None, OUT] = None,
    task: Annotated[list[str] | None, TASK] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Answer for this text.")] = None,
    text2: Annotated[str | None, TEXT2] = None,
    file: Annotated[str | None, INPUT] = None,
    output: Annotated[str | None, OUTPUT] = None,
    text_column: Annotated[str | None, COLUMN] = None,
    text2_column: Annotated[str | None, COLUMN2] = None,
    probabilities: Annotated[bool, CHANCES] = False,
    checkpoint: Checkpoint = "best",
    data_dir: DataDir = None,
    model_path: ModelPath = None,
    trust: Trust = None,
) -> None:
    """Predict with a finished run, for a text, a file or submissions."""
    from mtl_bert.inference.opened import Run

    opened = Run.open(run, checkpoint, data_dir=data_dir, model_path=model_path, trust=trust)
    asked = None if not task or task == [ALL] else task  # None: all that can answer
    names = list(dict.fromkeys(map(opened.known, asked or opened.settings.tasks)))
    given = {o: t.strip() for o, t in zip(TEXTS, (text, text2), strict=True) if t is not None}
    if bool(given) + (split is not None) + (file is not None) != 1:
        some = given or split is not None or file is not None
        raise UserError(
            "--split: expected --split dev or test, or a text to answer, found "
            f"{'more than one' if some else 'neither'}; write --split test or --text "
            '"..." or --input FILE'
        )
    columns = [column for column in (text_column, text2_column) if column is not None]
    if file is None and (columns or output or probabilities):
        raise UserError(
            "--input: expected the file that --output, --text-column, --text2-column and "
            "--probabilities are about, found none; write --input FILE"
        )
    plain_messages(logging.WARNING)
    if file is not None:
        if text_column is None and columns:
            raise UserError(
                "--text2-column: expected --text-column beside it, found none; write --text-column "
                "text"
            )
        from mtl_bert.inference.text_files import predict_file

        way = (file, output or "-", columns)
        for remark in predict_file(opened, asked and names, *way, probabilities=probabilities):
            say(remark, sys.stderr)
    elif split is None:
        _answer(opened, names, given)
    else:
        # Torch takes seconds to import: a command that is wrong is refused before that.
        from mtl_bert.inference.submission import write_glue, write_submission

        place = out or opened.folder.submission
        for path, table in write_submission(opened, names, split, place).items():
            say(f"{path}: {len(table):,} rows of {table.origin}")
        if split == "test":
            for line in write_glue(opened, names, place / "glue.zip"):
                say(f"{place / 'glue.zip'}: {line}")
    for note in opened.results.notes:
        say(note, sys.stderr if file is not None else None)


def _answer(opened: "Run", names: list[str], given: dict[str, str]) -> None:
    name, *others = names
    if others:
        raise UserError(f"--task: expected one, found {', '.join(names)}; write --task {name}")
    pair = bool(opened.settings.tasks[name].get("pair"))
    wanted = TEXTS[: 1 + pair]
    if tuple(given) != wanted or not all(given.values()):
        raise UserError(
            f"--text: expected {' and '.join(wanted)}{'' if pair else ' alone'} for {name}, found "
            f"{' and '.join(option for option, value in given.items() if value) or 'none'}; write "
            + " ".join([f"--task {name}", *(f'{option} "..."' for option in wanted)])
        )
    from mtl_bert.data.table import Table

    head: Any = opened.predictor.model.tasks[name].head
    table = Table("the command line", ("text",), (tuple(given.values()),), None)
    outputs = opened.predictor.outputs(name, table)
    (prediction,), chances = head.predict(outputs).tolist(), head.probabilities(outputs)[0].tolist()
    if head.names:
        say(f"{head.called(prediction)} ({head.confidence(outputs).item():.1%})")
    else:
        scale = f" on the scale from {head.low:g} to {head.high:g}" if hasattr(head, "low") else ""
        print(f"{prediction:.3f}{scale}")
    for other, chance in zip(head.names, chances, strict=True):
        say(f"  {chance:6.1%}  {other}")


if __name__ == "__main__":
    main()
