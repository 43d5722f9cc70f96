"""What a run will see in each epoch, and take of memory, without training."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from mtl_bert.config.compose import task_settings
from mtl_bert.config.settings import MOST, ConfigError, Settings, shown
from mtl_bert.runs.factories import make_corpus, make_planner, make_selections, make_tasks
from mtl_bert.sampling import Epoch
from mtl_bert.sampling.balance import Classes, classes_used
from mtl_bert.sampling.epoch import Sizes
from mtl_bert.sampling.history import decided_by, is_dynamic
from mtl_bert.sampling.same_texts import Texts
from mtl_bert.sampling.usage import Largest, Usage, records, usage
from mtl_bert.utils.errors import told
from mtl_bert.utils.files import replacing

if TYPE_CHECKING:
    from pandas import DataFrame

    from mtl_bert.data.table import Table as Rows


def preview(settings: Settings, sizes: Any = None, *, by_length: bool = False) -> "Preview":
    """The plans of a run.

    Args:
        sizes: training examples of each task, or None to count them in the data.
        by_length: group examples as ``group_by_length`` will, which means to encode all texts.

    Raises:
        UserError: sizes that are wrong, or data that cannot be had.
    """
    by_length = by_length and settings.group_by_length is not None
    texts, origin, alike = None, "sizes as given", list[Texts]()
    if sizes is None:
        from mtl_bert.data.text_numbers import same_texts  # torch takes seconds to import

        corpus = make_corpus(settings, tasks := make_tasks(settings))
        texts = make_selections(settings)["train"].of(corpus.read("train"))
        alike = same_texts(tasks, texts)
        sizes, origin = {task: len(table) for task, table in texts.items()}, f"data={corpus.name}"
    elif by_length:
        raise ConfigError(
            f"plan.sizes: expected null, as group_by_length={settings.group_by_length} needs the "
            f"lengths of texts to write steps, found {sizes!r}; "
            "leave plan.sizes out or write group_by_length=null"
        )
    numbers = sizes.values() if isinstance(sizes, Mapping) else ()
    if not numbers or not all(type(n) is int and 0 < n <= MOST for n in numbers):
        raise ConfigError(
            f"plan.sizes: expected whole numbers ≥ 1 for each task, found {shown(sizes)}; write "
            "for example plan.sizes='{sts: 6040, sst: 8544, qqp: 283010}'"
        )
    for task in {*sizes} - {*settings.tasks}:
        raise ConfigError(
            f"plan.sizes: expected tasks of {', '.join(settings.tasks)}, found {shown(task)}; "
            "write its name as there, or choose it with task=[...]"
        )
    if by_length:
        from mtl_bert.training.build import assemble  # torch takes seconds to import

        datamodule = assemble(settings, ["train"]).datamodule
        return Preview(settings, sizes, texts, origin, datamodule.plan, datamodule.classes)
    classes = {
        task: np.array(table.labels)
        for task, table in (texts or {}).items()
        if task_settings(settings, task).balance == "classes"
    }
    planner = make_planner(settings, sizes, classes, alike)
    decides = decided_by(planner.sampler) if is_dynamic(planner.sampler) else ""
    return Preview(settings, sizes, texts, origin, planner, classes, decides)


@dataclass(frozen=True)
class Preview:
    """The plans of a run: iterate over its epochs, print it, or take its table."""

    settings: Settings
    sizes: Sizes  # training examples of each task
    texts: "Mapping[str, Rows] | None"  # unless the sizes were given
    origin: str  # of the sizes, for people
    epoch: Callable[[int], Epoch]  # the plan of an epoch, by its number from 1
    classes: Classes  # of training examples, of tasks that balance them
    decides: str = ""  # what the plans after the first depend on, besides the settings

    def __len__(self) -> int:
        """The number of epochs."""
        return self.settings.epochs

    def __iter__(self) -> Iterator[Epoch]:
        """The plan of each epoch, made when it is asked for; of those that can be known."""
        return map(self.epoch, range(1, 2 if self.decides else len(self) + 1))

    def table(self) -> "DataFrame":
        """What each phase uses of each task: columns as the attributes of ``Usage``."""
        from pandas import DataFrame

        lines = [line for _, lines in self._summary[0] for line in lines]
        return DataFrame(lines, columns=list(Usage._fields))

    def memory(self) -> list[str]:
        """What the run takes of memory, or why that is not known."""
        if self.texts is None:
            return ["memory not estimated: with plan.sizes neither texts nor encoder are looked at"]
        from mtl_bert.memory.estimate import forecast  # torch takes seconds to import

        return forecast(self.settings, self.texts, self._summary[1].works())

    def write(self, path: Path) -> None:
        """Write each step as a line of JSON: {"epoch", "step", "phase", "rows": {task: [...]}}."""
        try:
            with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                for epoch in self:
                    file.writelines(json.dumps(record) + "\n" for record in records(epoch))
        except OSError as error:
            raise ConfigError(f"plan.out: {told(error)}") from error

    def __str__(self) -> str:
        """The table as a terminal shows it."""
        from mtl_bert.utils.screen import Screen

        console = Screen(width=100)
        with console.capture() as text:
            console.print(self)
        return text.get()

    def __rich__(self) -> Table:
        """A row for each epoch, phase and task."""
        settings = self.settings
        title = (
            f"sampler={settings.sampler['name']}, batch_size={settings.step_size}, {self.origin}"
        )
        if (steps := settings.group_by_length) is not None:
            title += f", group_by_length={steps} (examples of like length share a batch)"
        table = Table(title=title, title_justify="left", caption_justify="left")
        for name in ("epoch", "phase", "steps", "task", "examples", "unique", "% of training set"):
            table.add_column(name, justify="left" if name in ("phase", "task") else "right")
        told: dict[str, list[int]] = {}
        for epoch, lines in self._summary[0]:
            for line, before in zip(lines, [None, *lines], strict=False):
                lead = (str(line.epoch), line.phase, f"{line.steps:,}")
                if before is not None and before.phase == line.phase:
                    lead = ("", "", "")
                used = (f"{line.examples:,}", f"{line.unique:,}", f"{100 * line.share:.1f}")
                table.add_row(*lead, line.task, *used)
            if not lines:
                table.add_row(str(epoch.number), "nothing is trained", "0")
            table.add_section()
            for note in epoch.notes:
                told.setdefault(note, []).append(epoch.number)
        said = [f"{_ranged(numbers)}: {note}" for note, numbers in told.items()]
        if self.decides and len(self) > 1:
            said.append(f"{_ranged([*range(2, len(self) + 1)])}: decided by {self.decides}")
        table.caption = "\n".join(said) or None
        return table

    @cached_property
    def _summary(self) -> tuple[list[tuple[Epoch, list[Usage]]], Largest]:
        """Each epoch, without its steps, and its use; the most that goes through at once."""
        accumulate = self.settings.trainer.accumulate_grad_batches
        largest, found = Largest(self.settings.processes, accumulate), []
        for epoch in self:
            largest.see(epoch)
            notes = [*epoch.notes]
            for task, used in classes_used(epoch, self.classes).items():
                each = ", ".join(f"{count:,} of class {label}" for label, count in used.items())
                notes.append(f"{task}: {each}")
            found.append((replace(epoch, steps=(), notes=tuple(notes)), usage(epoch, self.sizes)))
        return found, largest


def _ranged(numbers: list[int]) -> str:
    """Epochs as people name them."""
    whole = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
    named = f"{numbers[0]}-{numbers[-1]}" if whole else ", ".join(map(str, numbers))
    return f"epoch{'s' if len(numbers) > 1 else ''} {named}"
