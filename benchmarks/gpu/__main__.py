"""What only a GPU can show: ``python -m benchmarks.gpu --data FOLDER --encoder FOLDER``.

1. The tests that need a GPU (``pytest -m cuda``).
2. Steps per second: passes, precision, torch.compile, and what surgery costs.
3. Tables 2 and 4 by the paper's schedule, as far as the time goes.

Each part writes its files into ``--out`` as it goes and has a limit of time of its own; a part that
fails leaves the others alone, and the exit code is 1. ``summary.txt`` has the device's name and
what came of each part.
"""

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu.tables import tables
from benchmarks.gpu.throughput import throughput
from mtl_bert.runs.provenance import commit

PARTS = {"tests": 0.2, "throughput": 0.3, "tables": 0.5}


def tests(device: str, out: Path, *, smoke: bool, limit: float) -> tuple[str, bool]:
    """Run what is marked ``cuda``; writes ``tests.txt``; says what came of it, and if it did."""
    # Without a GPU the tests are there and skipped, which is all that can be tried.
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-rfE", "tests/cuda"]
    # Warnings of other versions of libraries than the pinned ones are no failures there.
    command += ["--collect-only"] if smoke else ["-n", "6", "-W", "default"]
    with (out / "tests.txt").open("wb") as file:
        try:
            code = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return f"did not end in {limit:.0f} s: see tests.txt", False
    last = (out / "tests.txt").read_text("utf-8", "replace").strip().splitlines()[-1:]
    return f"exit code {code}: {' '.join(last)}", code == 0


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help="folder of the course's files")
    parser.add_argument("--encoder", default="", help="folder of an encoder, such as MiniLM's")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="default: runs/gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--jobs", type=int, default=12, help="runs at a time (default 12)")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts (default 9)")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--smoke", action="store_true", help="everything in seconds, at no size")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected a GPU, found none; write --device cpu --smoke")
    chosen = given.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, found {unknown.pop()}")
    if "tables" in chosen and not given.smoke and not (given.data and given.encoder):
        parser.error("tables: expected --data and --encoder, found none; or write --parts tests")
    if given.out.exists() and not given.out.is_dir():
        parser.error(f"--out: expected a folder, found a file at {given.out}; write another")
    given.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    worked, lines = True, [f"{name}, torch {torch.__version__}, commit {commit() or 'unknown'}"]
    works: dict[str, Callable[..., tuple[str, bool]]] = {
        "tests": tests,
        "throughput": throughput,
        "tables": lambda *a, **k: tables(
            *a, **k, jobs=given.jobs, data=given.data, encoder=given.encoder
        ),
    }
    whole = sum(PARTS[part] for part in chosen)
    for part in chosen:
        began, limit = time.perf_counter(), 60 * given.minutes * PARTS[part] / whole
        try:
            outcome, did = works[part](given.device, given.out, smoke=given.smoke, limit=limit)
        except Exception:
            outcome, did = traceback.format_exc(), False
        worked &= did
        lines.append(f"\n{part} ({time.perf_counter() - began:.0f} s)\n{outcome}")
        print(lines[-1], flush=True)
        (given.out / "summary.txt").write_text("\n".join([*lines, ""]), "utf-8")
    sys.exit(not worked)


if __name__ == "__main__":
    main()
