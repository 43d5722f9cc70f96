"""How long a run takes to its first step: python -m benchmarks.startup [--rounds 3].

The demo's text in the paper's full sizes (and 40,000 dev pairs) is written as the course's files,
so that what is measured includes reading them. Then, in fresh processes, once per round in random
order:

- importing torch and nothing else;
- a run with an empty cache until its first training step is done, then killed;
- a run that finds everything in the cache, likewise;
- a run without a cache.

Prints medians, what each takes beyond torch's import in the same round, and the memory of two runs
at once: what each has for itself, and what of the cache's files it shares.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.first_step import SAID
from benchmarks.measure import MEBI, interleaved, machine
from mtl_bert.data.sources.demo import paraphrase, sentiment, similarity
from mtl_bert.data.token_cache import VARIABLE

Make = Callable[[int, np.random.Generator], Any]
FILES: Mapping[str, tuple[Make, int, int, str]] = {
    "ids-sst": (sentiment, 8544, 1101, "id\tsentence\tsentiment"),
    "quora": (paraphrase, 283_010, 40_000, "id\tsentence1\tsentence2\tis_duplicate"),
    "sts": (similarity, 6040, 863, "id\tsentence1\tsentence2\tsimilarity"),
}
"""The course's files: what makes their text, rows for training and dev, the header."""

RUN = (
    "data=cs224n",
    "model=tiny",
    "model.max_length=64",
    "sampler=rr",
    "epochs=1",
    "trainer.baseline=false",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)


def write_files(place: Path, pairs: int) -> None:
    """The demo's text in the course's layout.

    Args:
        place: the directory.
        pairs: for the largest task's training.
    """
    for name, (make, *sizes, header) in FILES.items():
        for number, (split, size) in enumerate(zip(("train", "dev"), sizes, strict=True)):
            count = pairs if size == max(sizes) and name == "quora" else size
            examples = make(count, np.random.default_rng(number))
            with (place / f"{name}-{split}.csv").open("w", encoding="utf-8") as file:
                file.write(f"{header}\n")
                for row, (texts, label) in enumerate(examples):
                    file.write("\t".join([f"{split}-{row}", *texts, f"{label:g}"]) + "\n")


def started(data: Path, cache: Path, *overrides: str) -> "subprocess.Popen[str]":
    """A run in a process of its own that says when its first step is done, and goes on."""
    run = tempfile.mkdtemp(prefix="run-", dir=data.parent)
    told = [*RUN, f"data.dir={data}", f"hydra.run.dir={run}/run", *overrides]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.first_step", *told],
        env=os.environ | {VARIABLE: str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )


def first_step(process: "subprocess.Popen[str]") -> None:
    """Wait until a run has taken its first step."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(SAID):
            return
    raise RuntimeError(f"a run ended before its first step, with {process.wait()}")


def until_first_step(data: Path, cache: Path, *overrides: str) -> None:
    """A run up to its first step, then killed."""
    process = started(data, cache, *overrides)
    try:
        first_step(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def import_torch() -> None:
    """The same for what nobody can save."""
    subprocess.run([sys.executable, "-c", "import torch"], check=True)


def contestants(data: Path, cache: Path) -> dict[str, Callable[[], Callable[[], None]]]:
    """What is timed; the cold run's cache is emptied before it is."""
    cold = data.parent / "cold"

    def empty() -> Callable[[], None]:
        shutil.rmtree(cold, ignore_errors=True)
        return partial(until_first_step, data, cold)

    return {
        "import torch": lambda: import_torch,
        "first step, empty cache": empty,
        "first step, from the cache": lambda: partial(until_first_step, data, cache),
        "first step, no cache": lambda: partial(
            until_first_step, data, cache, "trainer.cache=false"
        ),
    }


def memory(process: int, cache: Path) -> dict[str, int]:
    """Bytes of a process: all that is resident, its own, and of the cache's files (Linux)."""
    found = {"resident": 0, "its own": 0, "of the cache": 0, "of the cache, its own": 0}
    mapped = False
    for line in Path(f"/proc/{process}/smaps").read_text("utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mapped = str(cache) in line
            continue
        field, _, value = line.partition(":")
        if field not in ("Rss", "Private_Clean", "Private_Dirty"):
            continue
        size = int(value.split()[0]) * 1024
        whole = field == "Rss"
        found["resident" if whole else "its own"] += size
        if mapped:
            found["of the cache" if whole else "of the cache, its own"] += size
    return found


def memory_of_two(data: Path, cache: Path, *overrides: str) -> dict[str, float]:
    """Means over two runs at once, both after their first step."""
    runs = [started(data, cache, *overrides) for _ in range(2)]
    try:
        for run in runs:
            first_step(run)
        time.sleep(1)
        found = [memory(run.pid, cache) for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each contestant")
    parser.add_argument("--pairs", type=int, default=FILES["quora"][1], help="training pairs")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="startup-"))
    try:
        data, cache = place / "data", place / "cache"
        data.mkdir()
        write_files(data, options.pairs)
        until_first_step(data, cache)
        seconds = interleaved(contestants(data, cache), options.rounds)
        timed = Table(f"{options.pairs:,} training pairs", "time", "beyond import torch")
        for name, times in seconds.items():
            beyond = median(a - b for a, b in zip(times, seconds["import torch"], strict=True))
            timed.add_row(name, f"{median(times):.1f} s", f"{beyond:.1f} s")
        sized = Table("each of two runs at once", "from the cache", "no cache")
        with_cache = memory_of_two(data, cache)
        without = memory_of_two(data, cache, "trainer.cache=false")
        for name, size in with_cache.items():
            sized.add_row(name, f"{size / MEBI:,.0f} MiB", f"{without[name] / MEBI:,.0f} MiB")
        Console().print(machine(), timed, sized, highlight=False)
    finally:
        with suppress(OSError):
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
