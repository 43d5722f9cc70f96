"""What it costs to look at the tasks' conflicts in each step: the same epoch with and without.

    python -m benchmarks.diagnoses [--steps 10] [--rounds 7] [SETTING=VALUE ...]

Round-robin steps of the demo's text, by default with an encoder of MiniLM's size. "without" has the
diagnoses and their sums replaced by nothing; "again" is the first contestant once more, as far as
which two numbers differ by chance.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

from rich.console import Console
from rich.table import Table as Grid

from benchmarks.measure import Work, as_it_is, interleaved, machine, ratio
from benchmarks.throughput import MINILM, Cut, ours, settings_of
from mtl_bert.training import step_log
from mtl_bert.training.build import assemble
from mtl_bert.training.meters import EpochSums


def without(work: Work) -> Work:
    """The same, with nobody looking."""

    def blind() -> None:
        with (
            patch.object(step_log, "diagnose", lambda *_: None),
            patch.object(EpochSums, "add", lambda *_: None),
        ):
            work()

    return blind


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.diagnoses",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=10, help="joint steps")
    parser.add_argument("--rounds", type=int, default=7, help="of each contestant")
    parser.add_argument("settings", nargs="*", help="of mtl_bert.train, instead of MiniLM's size")
    options = parser.parse_args()
    overrides = ["batch_size=8", "sampler=rr", *(options.settings or MINILM)]
    cut = Cut(assemble(settings_of(overrides)).datamodule.plan(1), options.steps, 0)
    console = Console()
    console.print(machine(), highlight=False)
    with tempfile.TemporaryDirectory() as place:
        make: Callable[..., Work] = partial(ours, cut=cut, place=Path(place))
        works = {
            "as it is": make(overrides),
            "as it is, again": make(overrides),
            "without": without(make(overrides)),
            "and every layer in every step": make([*overrides, "trainer.layers_every=1"]),
        }
        seconds = interleaved(
            {name: partial(as_it_is, work) for name, work in works.items()}, options.rounds
        )
    usual = next(iter(works))
    grid = Grid("", "ms a step", "÷ as it is", title=f"{options.steps} RR steps")
    for name, times in seconds.items():
        milliseconds = f"{1000 * median(times) / options.steps:,.1f}"
        grid.add_row(name, milliseconds, f"{ratio(seconds, name, usual):.3f}")
    console.print(grid)


if __name__ == "__main__":
    main()
