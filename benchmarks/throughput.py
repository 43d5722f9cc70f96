"""Examples per second of an epoch, ours against a loop in a course's style.

    python -m benchmarks.throughput [--rr 6 --finetune 24] [--rounds 5] [SETTING=VALUE ...]
    python -m benchmarks.throughput --rr 6 --finetune 0 --only padded "padded, bucketed" --

Settings are those of ``mtl_bert.train``; by default the demo's text and an encoder of MiniLM's
size with random weights. All contestants begin with the same weights and see the same batches (but
where it says bucketed); an epoch is cut to its first round-robin and fine-tuning steps, as many of
each as the paper has in proportion. ``course`` is `course.py`'s loop as it is; the rows below it
switch one of our techniques on in it; ``ours`` is the program itself, Lightning included.

`benchmarks/README.md` has what was measured.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import ClassVar
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.course import CourseLoop, Ways
from benchmarks.measure import Work, as_it_is, interleaved, machine, ratio
from mtl_bert.config.compose import CONF, read_settings
from mtl_bert.config.settings import Settings
from mtl_bert.runs import factories
from mtl_bert.runs.factories import make, make_corpus, make_tasks
from mtl_bert.runs.text_model import make_text_model
from mtl_bert.sampling import Epoch, Step
from mtl_bert.sampling.epoch import Sizes
from mtl_bert.training.build import assemble, make_trainer

MINILM = [
    "data=demo", "data.scale=0.05", "model=tiny", "model.source.settings.hidden_size=384",
    "model.source.settings.num_hidden_layers=6", "model.source.settings.num_attention_heads=12",
    "model.source.settings.intermediate_size=1536", "lr=1e-5",
]  # fmt: skip

COURSE = {
    "course": Ways(),
    "  texts encoded before": Ways(encoded=True),
    "  without padding": Ways(packed=True),
    "  our surgery": Ways(surgery=True),
    "  fused AdamW": Ways(fused=True),
    "  bf16": Ways(half=True),
}

OURS = {
    "ours": [],
    "  padded": ["trainer.packing=false"],
    "  padded, bucketed": ["trainer.packing=false", "group_by_length=100"],
    "  bucketed": ["group_by_length=100"],
    "  ours, bf16": ["trainer.precision=bf16-mixed"],
    "  bucketed, bf16": ["group_by_length=100", "trainer.precision=bf16-mixed"],
}


@dataclass(frozen=True)
class Cut:
    """An epoch's first steps of each phase."""

    encoder_per_task: ClassVar[bool] = False

    whole: Epoch
    joint: int
    alone: int

    def __call__(self, sizes: Sizes, epoch: int, epochs: int, seed: int) -> Epoch:
        """The same steps in every epoch."""
        return Epoch(epoch, tuple(self.steps()))

    def steps(self) -> Iterator[Step]:
        """Those that are kept."""
        limits = {True: self.joint, False: self.alone}
        for phase, steps in self.whole.phases():
            yield from steps[: limits[phase.surgery]]


def settings_of(overrides: Sequence[str]) -> Settings:
    """The checked settings of a command line."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return read_settings(compose("train", list(overrides)))


def course(overrides: Sequence[str], chosen: Sequence[str]) -> dict[str, CourseLoop]:
    """The contestants in the course's style that were chosen."""
    settings = settings_of([*overrides, "trainer.packing=false"])
    tasks = make_tasks(settings)
    tables = make_corpus(settings, tasks).read("train")
    loops, encoded = {}, None
    for name in filter(COURSE.__contains__, chosen):
        text_model = make_text_model(settings, tasks, make(settings.model.source, "model.source"))
        encoded = encoded or {t: text_model.tokenize(table) for t, table in tables.items()}
        loops[name] = CourseLoop(text_model, tables, encoded, settings.lr, COURSE[name])
    return loops


def ours(overrides: Sequence[str], cut: Cut, place: Path) -> Work:
    """The program itself, from the start of training to its end."""
    settings = settings_of([*overrides, "trainer.check_val_every_n_epoch=99"])  # not what is timed
    with patch.object(factories, "make_sampler", lambda _: cut):
        parts = assemble(settings)
    cut_steps = len(list(cut.steps()))

    def fit() -> None:
        trainer = make_trainer(settings, place, [], [], epochs=1)
        before = parts.module.steps
        trainer.fit(parts.module, parts.datamodule)
        assert parts.module.steps - before == cut_steps  # another epoch's time would be no use

    return fit


def contestants(
    overrides: Sequence[str], cut: Cut, place: Path, chosen: Sequence[str]
) -> dict[str, Work]:
    """Those that were chosen, each with a model of its own."""
    steps = list(cut.steps())
    theirs = {name: partial(loop.train, steps) for name, loop in course(overrides, chosen).items()}
    return theirs | {
        name: ours([*overrides, *more], cut, place) for name, more in OURS.items() if name in chosen
    }


def measured(overrides: Sequence[str], cut: Cut, rounds: int, chosen: Sequence[str]) -> Grid:
    """A row for each contestant: examples per second, and its speed by the first's."""
    examples = sum(step.examples for step in cut.steps())
    with tempfile.TemporaryDirectory() as place:
        works = contestants(overrides, cut, Path(place), chosen)
        seconds = interleaved(
            {name: partial(as_it_is, work) for name, work in works.items()}, rounds
        )
    first = next(iter(seconds))
    grid = Grid(
        "",
        "examples/s",
        f"÷ {first.strip()}",
        title=f"{cut.joint} RR steps, {cut.alone} of one task",
    )
    for name, times in seconds.items():
        speed = 1 / ratio(seconds, name, first)
        grid.add_row(name, f"{examples / median(times):,.1f}", f"{speed:.2f}")
    return grid


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rr", type=int, default=6, help="joint steps")
    parser.add_argument("--finetune", type=int, default=24, help="steps of the largest task")
    parser.add_argument("--rounds", type=int, default=5, help="of each contestant")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[name.strip() for name in (*COURSE, *OURS)],
        metavar="ONLY",
        help="contestants, by name; others divided by the first",
    )
    parser.add_argument("settings", nargs="*", help="of mtl_bert.train, instead of the demo's text")
    options = parser.parse_args()
    overrides = ["batch_size=8", "sampler=arrp", "B=null", *(options.settings or MINILM)]
    whole = assemble(settings_of(overrides)).datamodule.plan(1)
    console = Console()
    console.print(machine(), highlight=False)
    console.print(
        f"batch_size=8 {' '.join(options.settings or MINILM)}", highlight=False, soft_wrap=True
    )
    chosen = [*COURSE, *OURS]
    if options.only is not None:
        chosen = [name for name in chosen if name.strip() in options.only]
    cut = Cut(whole, options.rr, options.finetune)
    console.print(measured(overrides, cut, options.rounds, chosen))


if __name__ == "__main__":
    main()
