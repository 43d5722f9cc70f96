"""Write an encoder with weights in fp16, half as large: ``python -m benchmarks.gpu.carry FROM TO``."""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Copy the folder, weights rounded to fp16."""
    source, target = map(Path, sys.argv[1:])
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            half = {k: t.half() if t.dtype == torch.float32 else t for k, t in tensors.items()}
            save_file(half, target / path.name, {"format": "pt"})
        elif path.is_file() and path.suffix in (".json", ".txt", ".model", ".md"):
            shutil.copy(path, target)


if __name__ == "__main__":
    main()
