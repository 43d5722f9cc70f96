"""Answer with a finished run: ``python -m mtl_bert.predict run=DIR split=test``."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mtl_bert.config import command_line
from mtl_bert.config.command_line import ArgumentError
from mtl_bert.runs.opened import Run
from mtl_bert.utils.files import write_together
from mtl_bert.utils.logging import plain_messages

KEYS = (
    "run", "split", "out", "task", "text", "text2", "checkpoint", "data.dir", "model.path",
)  # fmt: skip
SPLITS = ("dev", "test")
HELP = """
Answer with a finished run.

python -m mtl_bert.predict run=DIR split=test     the course's submission files
  split=dev|test        which files are answered; every row, in the file's order
  out=DIR               where the answers go                      the run's own submission/
  task=[sst,sts]        which tasks                               all of the run's

python -m mtl_bert.predict run=DIR task=sst text="..."     one answer
  text2="..."           the second text of a pair

  checkpoint=best|last  which weights                             best
  data.dir=DIR, model.path=DIR    where they lie now, if they moved since

Values are taken to the letter: everything behind the first =.

Examples
  python -m mtl_bert.predict run=runs/2026-01-31/12-00-00-arrp-seed1 split=test
  python -m mtl_bert.predict run=DIR task=qqp text="Is it worth it?" text2="Is it, really?"
"""


def main() -> None:
    """The command."""
    command_line.run_key_values(run, KEYS, HELP)


def run(given: Mapping[str, str]) -> None:
    """Write submission files, or answer for one text."""
    opened = Run.open(
        given.get("run", "."),
        given.get("checkpoint", "best"),
        data_dir=given.get("data.dir"),
        model_path=given.get("model.path"),
    )
    tasks = _tasks(opened, given.get("task"))
    one = "text" in given or "text2" in given
    if one == ("split" in given):
        found = "both" if one else "neither"
        raise ArgumentError(
            f"split: expected split=dev|test, or a text to answer, found {found}; write split=test "
            'or text="..."'
        )
    plain_messages(logging.WARNING)
    if one:
        _answer(opened, tasks, given)
    else:
        _submit(opened, tasks, given)


def _tasks(opened: Run, wanted: str | None) -> list[str]:
    there = list(opened.settings.tasks)
    names = there if wanted is None else [n.strip() for n in wanted.strip("[]").split(",")]
    for name in names:
        if name not in there:
            raise ArgumentError(
                f"task: expected some of {', '.join(there)}, which the run has, found "
                f"{name or 'nothing'}; write for example task={there[0]}"
            )
    return list(dict.fromkeys(names))


def _submit(opened: Run, names: list[str], given: Mapping[str, str]) -> None:
    split = given["split"]
    if split not in SPLITS:
        raise ArgumentError(f"split: expected dev or test, found {split!r}; write split=test")
    # Torch takes seconds to import: a command that is wrong is refused before that.
    from mtl_bert.data import load_rows
    from mtl_bert.inference.submission import file_name, file_text
    from mtl_bert.runs.factories import make_data_source, make_tasks

    out = Path(given.get("out", opened.folder.submission))
    tasks = [task for task in make_tasks(opened.settings) if task.name in names]
    tables = load_rows(make_data_source(opened.settings), tasks, split)
    model = opened.predictor
    texts = {
        out / file_name(task, split): file_text(
            task, tables[task.name], model.outputs(task.name, tables[task.name])
        )
        for task in tasks
    }
    if len(texts) < len(tasks):
        raise ArgumentError(
            f"task: expected a submission file of its own for each of {', '.join(names)}, found "
            "two of one name; mend submission.file in a task's file"
        )
    try:
        write_together(texts)
    except OSError as error:
        raise ArgumentError(
            f"out: expected a directory that can be written to, found {out} ({error}); "
            "write out=ANOTHER"
        ) from error
    for task, path in zip(tasks, texts, strict=True):
        print(f"{path}: {len(tables[task.name]):,} rows of {tables[task.name].origin}")
    _say_what_it_is_worth(opened)


def _answer(opened: Run, names: list[str], given: Mapping[str, str]) -> None:
    if len(names) != 1 or "task" not in given:
        raise ArgumentError(f"task: expected one, found {', '.join(names)}; write task={names[0]}")
    (name,) = names
    texts = tuple(given[key].strip() for key in ("text", "text2") if key in given)
    pair = bool(opened.settings.tasks[name]["pair"])
    if len(texts) != 1 + pair or "text" not in given or not all(texts):
        expected = "text and text2" if pair else "text alone"
        raise ArgumentError(
            f"text: expected {expected} for {name}, found "
            f"{' and '.join(k for k in ('text', 'text2') if given.get(k, '').strip()) or 'none'}; "
            f'write task={name} text="..."' + (' text2="..."' if pair else "")
        )
    from mtl_bert.data import Table

    model = opened.predictor
    head = model.tasks[name].head
    outputs = model.outputs(name, Table("the command line", ("text",), (texts,), None))
    prediction = head.predict(outputs)[0].item()
    if head.names:
        chances = head.probabilities(outputs)[0].tolist()
        print(f"{head.names[int(prediction)]} ({chances[int(prediction)]:.1%})")
        for other, chance in zip(head.names, chances, strict=True):
            print(f"  {chance:6.1%}  {other}")
    else:
        node = opened.settings.tasks[name]["head"]
        scale = f" on the scale from {node['low']:g} to {node['high']:g}" if "low" in node else ""
        print(f"{prediction:.3f}{scale}")
    _say_what_it_is_worth(opened)


def _say_what_it_is_worth(opened: Run) -> None:
    for note in opened.results.notes:
        print(note)


if __name__ == "__main__":
    main()
