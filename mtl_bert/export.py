"""Give a run's model away: ``python -m mtl_bert.export run=DIR out=DIR``."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mtl_bert.config import command_line
from mtl_bert.config.command_line import ArgumentError
from mtl_bert.runs.opened import Run
from mtl_bert.utils.logging import plain_messages

KEYS = ("run", "out", "checkpoint", "model.path")
HELP = """
Write a finished run's model as a transformers directory.

python -m mtl_bert.export run=DIR out=DIR [checkpoint=best|last] [model.path=DIR]

AutoModel.from_pretrained(out) loads the encoder, AutoTokenizer.from_pretrained(out) its tokenizer;
heads.safetensors and heads.json beside them are the tasks' heads, and README.md says how to use
all three in ten lines. With sampler=single, out has a directory for each task.

Example
  python -m mtl_bert.export run=runs/2026-01-31/12-00-00-arrp-seed1 out=my-model
"""


def main() -> None:
    """The command."""
    command_line.run_key_values(run, KEYS, HELP)


def run(given: Mapping[str, str]) -> None:
    """Write the directory."""
    opened = Run.open(
        given.get("run", "."),
        given.get("checkpoint", "best"),
        model_path=given.get("model.path"),
    )
    if not given.get("out"):
        raise ArgumentError("out: expected a directory, found nothing; write out=DIR")
    out = Path(given["out"])
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ArgumentError(
            f"out: expected a new or empty directory, found something at {out}; write another"
        )
    plain_messages(logging.WARNING)
    # Torch takes seconds to import: a command that is wrong is refused before that.
    from mtl_bert.inference.transformers_export import export

    export(opened, out)
    print(f"written to {out}; {out}/README.md says how to use it")


if __name__ == "__main__":
    main()
