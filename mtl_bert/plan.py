"""Show what each epoch will see, without training: ``python -m mtl_bert.plan sampler=rr``."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from mtl_bert.config import command_line
from mtl_bert.config.compose import read_settings, sampler_name
from mtl_bert.config.settings import ConfigError, Settings, setting_names
from mtl_bert.memory.work import Largest
from mtl_bert.runs.factories import make_sampler, make_selections, make_tasks, read_corpus
from mtl_bert.sampling import Epoch
from mtl_bert.sampling.epoch import Sizes, rows_used
from mtl_bert.utils.files import replacing

if TYPE_CHECKING:
    from mtl_bert.data import Corpus


def main() -> None:
    """The command."""
    command_line.run("plan", run, keys=[*setting_names(), "plan.sizes", "plan.out"])


def run(config: DictConfig, directory: Path) -> None:
    """Print the plan of every epoch; write its steps where ``plan.out`` says."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    options = plain.pop("plan")
    settings = read_settings(plain)
    by_length = settings.group_by_length is not None and options["out"] is not None
    make = _bucketed if by_length else _drawn
    corpus, sizes, plan = make(settings, options["sizes"])
    largest = Largest(settings.processes, settings.trainer.accumulate_grad_batches)

    def seen() -> Iterator[Epoch]:
        for epoch in range(1, settings.epochs + 1):
            planned = plan(epoch)
            largest.see(planned)
            yield planned

    console = Console(highlight=False)
    origin = "sizes as given" if corpus is None else f"data={corpus.name}"
    title = f"sampler={sampler_name(settings)}, batch_size={settings.step_size}, {origin}"
    if settings.group_by_length is not None:
        title += (
            f", group_by_length={settings.group_by_length} (examples of like length share a batch)"
        )
    if options["out"] is None:
        console.print(plan_table(seen(), sizes, title))
    else:
        _write(Path(str(options["out"])), seen(), sizes, title, console)
    for line in _memory(settings, corpus, largest):
        console.print(line, soft_wrap=True)


def _write(out: Path, plans: Iterator[Epoch], sizes: Sizes, title: str, console: Console) -> None:
    if out.is_dir():
        raise ConfigError(
            f"plan.out: expected a file's name, found the directory {out}; "
            f"write plan.out={out}/plan.jsonl"
        )
    try:
        with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as file:

            def written() -> Iterator[Epoch]:
                for plan in plans:
                    file.writelines(step_lines(plan))
                    yield plan

            console.print(plan_table(written(), sizes, title))
    except OSError as error:
        raise ConfigError(
            f"plan.out: expected a file that can be written, found {error.strerror} at {out}; "
            "write another name"
        ) from error
    console.print(f"steps written to {out}", soft_wrap=True)


def _memory(settings: Settings, corpus: "Corpus | None", largest: Largest) -> list[str]:
    if corpus is None:
        return ["memory not estimated: with plan.sizes neither texts nor encoder are looked at"]
    from mtl_bert.memory.forecast import forecast  # torch takes seconds to import

    return forecast(settings, corpus.train, largest.works())


def plan_table(plans: Iterator[Epoch], sizes: Sizes, title: str) -> Table:
    """A row per epoch, phase and task: steps, examples, unique examples, share of training set."""
    table = Table(title=title, title_justify="left")
    for heading in ("epoch", "phase", "steps", "task", "examples", "unique", "% of training set"):
        table.add_column(heading, justify="left" if heading in ("phase", "task") else "right")
    notes: dict[str, list[int]] = {}
    for plan in plans:
        for phase, steps in plan.phases():
            lead = (str(plan.number), phase.name, f"{len(steps):,}")
            for task, size in sizes.items():
                rows = rows_used(steps, task)
                if len(rows):
                    unique = len(np.unique(rows))
                    share = f"{100 * unique / size:.1f}"
                    table.add_row(*lead, task, f"{len(rows):,}", f"{unique:,}", share)
                    lead = ("", "", "")
        if not plan.steps:
            table.add_row(str(plan.number), "nothing is trained", "0")
        table.add_section()
        for note in plan.notes:
            notes.setdefault(note, []).append(plan.number)
    lines = [f"epochs {_listed(numbers)}: {note}" for note, numbers in notes.items()]
    table.caption = "\n".join(lines) or None
    table.caption_justify = "left"
    return table


def _listed(numbers: list[int]) -> str:
    whole = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
    return f"{numbers[0]}-{numbers[-1]}" if whole else ", ".join(map(str, numbers))


def step_lines(plan: Epoch) -> Iterator[str]:
    """Each step as a line of JSON: epoch from 1, step and rows from 0."""
    for number, step in enumerate(plan.steps):
        rows = {task: numbers.tolist() for task, numbers in step.rows.items()}
        record = {"epoch": plan.number, "step": number, "phase": step.phase.name, "rows": rows}
        yield json.dumps(record) + "\n"


_Planned = tuple["Corpus | None", Sizes, Callable[[int], Epoch]]
"""The texts, unless sizes were given; training examples of each task; an epoch -> its plan."""


def _drawn(settings: Settings, given: Any) -> _Planned:
    """Plans as the sampler draws them; all but which examples share a batch is final."""
    corpus, sizes = _sizes(settings, given)
    sampler = make_sampler(settings)
    return corpus, sizes, lambda epoch: sampler(sizes, epoch, settings.epochs, settings.seed)


def _bucketed(settings: Settings, given: Any) -> _Planned:
    """Plans with the batches that are trained, which depend on the lengths of all texts."""
    if given is not None:
        raise ConfigError(
            f"plan.sizes: expected null, as group_by_length={settings.group_by_length} needs the "
            f"lengths of texts to write steps, found {given!r}; "
            "leave plan.sizes out or write group_by_length=null"
        )
    from mtl_bert.training.build import assemble  # torch takes seconds to import

    corpus, sizes = _sizes(settings, given)
    return corpus, sizes, assemble(settings, splits=["train"]).datamodule.plan


def _sizes(settings: Settings, given: Any) -> "tuple[Corpus | None, Sizes]":
    """Training examples of each task, as given or as counted in the data."""
    if given is None:
        whole = read_corpus(settings, make_tasks(settings), ["train"])
        corpus = whole.cut(**make_selections(settings))
        return corpus, corpus.sizes
    numbers = given.values() if isinstance(given, dict) else ()
    if not numbers or not all(type(n) is int and n > 0 for n in numbers):
        raise ConfigError(
            f"plan.sizes: expected whole numbers ≥ 1 for each task, found {given!r}; write for "
            "example plan.sizes='{sts: 6040, sst: 8544, qqp: 283010}'"
        )
    return None, given


if __name__ == "__main__":
    main()
