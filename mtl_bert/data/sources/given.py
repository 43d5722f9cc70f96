"""Examples that a program has in memory, kept as files of the run that they are given to.

So a run from Python is any other: it can be resumed, scored again and trained by several processes.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtl_bert.config.settings import CONFIG, Settings
from mtl_bert.data.table import DataError
from mtl_bert.utils.files import place_for, write_text

Examples = Iterable[Mapping[str, Any]]
"""Rows by column: a ``datasets.Dataset``, a list of dicts; a pandas frame is taken, too."""

SPLITS = ("train", "dev", "test")


@contextmanager
def kept(
    data: Mapping[str, Sequence[Examples]], settings: Settings, directory: Path
) -> Iterator[Settings]:
    """Settings whose tasks read the examples from files in the run's folder.

    They are removed again if the run does not begin.

    Args:
        data: for each task its training and its dev set, perhaps a test set.
        settings: the run's.
        directory: its folder.

    Raises:
        DataError: a task or columns that there are not, or other data than the run began with.
    """
    tasks, texts = dict(settings.tasks), dict[Path, str]()
    for name, parts in data.items():
        if name not in tasks:
            raise DataError(
                f"data: expected tasks of {', '.join(tasks)}, found {name!r}; write "
                f"task=[{name}] if there is such a task, or make one: mtl-bert new-task"
            )
        if isinstance(parts, Mapping) or len(parts) not in (2, 3):
            raise DataError(
                f"data: expected (train, dev) for {name}, found {type(parts).__name__}; write "
                f"data={{{name!r}: (train, dev)}}"
            )
        rows = {s: list(_rows(part)) for s, part in zip(SPLITS, parts, strict=False)}
        paths = {split: directory / "data" / f"{name}-{split}.jsonl" for split in rows}
        columns = _columns(name, tasks[name], rows["train"])
        own = {**columns, **{split: str(path) for split, path in paths.items()}}
        sources = {**tasks[name].get("sources", {}), "files": own}
        tasks[name] = {**tasks[name], "sources": sources}
        texts |= {
            paths[s]: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in of)
            for s, of in rows.items()
        }
    for path, text in texts.items():
        if path.exists() and path.read_text("utf-8") != text:
            raise DataError(
                f"data: expected the examples with which the run in {directory} began, found "
                f"others for {path.stem}; write out=ANOTHER"
            )
    new = [path for path in texts if not path.exists()]
    with place_for(directory / "data"):
        try:
            for path in new:
                write_text(path, texts[path])
            yield settings.model_copy(update={"tasks": tasks})
        finally:
            if not (directory / CONFIG).exists():
                for path in new:
                    path.unlink(missing_ok=True)


def _rows(part: Any) -> Iterator[dict[str, Any]]:
    found = part.to_dict("records") if hasattr(part, "iterrows") else part
    for row in found:
        yield {str(key): _plain(value) for key, value in row.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it; what is missing is null."""
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _columns(name: str, task: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Any:
    """The columns of texts and label: as the task's own sources call them, or text and label."""
    usual = {"text": ["text", "text2"][: 1 + bool(task.get("pair"))], "label": "label"}
    known = [
        {key: place[key] for key in ("text", "label", "id", "blanks", "label_separator")
         if key in place}
        for place in task.get("sources", {}).values() if {"text", "label"} <= place.keys()
    ]  # fmt: skip
    there = set(rows[0]) if rows else set()
    for place in (*known, usual):
        labels = place["label"] if isinstance(place["label"], list) else [place["label"]]
        if {*place["text"], *labels} <= there:
            if place.get("id") not in there:
                place.pop("id", None)
            return place
    raise DataError(
        f"data: expected the columns {', '.join(usual['text'])} and label for {name}, found "
        f"{', '.join(there) or 'no rows'}; rename them"
    )
