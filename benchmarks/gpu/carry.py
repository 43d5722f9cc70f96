"""Write an encoder with weights in fp16, half as large: python -m benchmarks.gpu.carry FROM TO."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = ".safetensors"
BESIDE = (".json", ".txt", ".model", ".md")  # tokenizer, settings, and how the encoder is pooled


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy the folder, weights rounded to fp16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", metavar="FROM", type=Path, help="the encoder's folder")
    parser.add_argument("target", metavar="TO", type=Path, help="a new folder")
    given = parser.parse_args(arguments)
    if not [*given.source.glob(f"*{WEIGHTS}")]:
        parser.error(f"FROM: expected an encoder with *{WEIGHTS}, found none in {given.source}")
    if given.target.exists():
        parser.error(f"TO: expected a new folder, found {given.target}; write another")
    for path in sorted(given.source.rglob("*")):
        copy = given.target / path.relative_to(given.source)
        if path.suffix not in (WEIGHTS, *BESIDE) or not path.is_file():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == WEIGHTS:
            tensors = load_file(path)
            half = {k: t.half() if t.dtype == torch.float32 else t for k, t in tensors.items()}
            save_file(half, copy, {"format": "pt"})
        else:
            shutil.copy(path, copy)


if __name__ == "__main__":
    main()
