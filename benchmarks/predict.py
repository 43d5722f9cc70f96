"""Examples per second of a trained model's answers: python -m benchmarks.predict RUN --task TASK.

The texts are those of the task's dev set, from the run's own predictions, repeated up to --texts.
All answer with the same weights and the same threads, tokenisation included:

- pipeline: transformers' ``pipeline("text-classification")``, as it comes, a text at a time;
- pipeline, batches of 64: the same, told to take so many, in the order of the texts;
- predict: ``TextModel.predict``, sorted by length;
- all tasks: the same for all tasks that take as many texts, in one pass;
- onnx, onnx int8: the exported files by onnxruntime, sorted by length (where it is installed).

A round has each once, in random order; ratios are medians of those within rounds.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.measure import as_it_is, interleaved, machine, ratio
from mtl_bert.data.table import Table
from mtl_bert.inference.onnx_export import answers_of
from mtl_bert.inference.opened import Run
from mtl_bert.runs.text_model import TextModel
from mtl_bert.utils.errors import UserError

PLAIN = "pipeline"
Answers = Callable[[], Any]


def contestants(opened: Run, task: str, texts: list[Any], place: Path) -> dict[str, Answers]:
    """What is timed: each answers all texts, one text or a pair each."""
    loaded = opened.predictor
    table = Table("texts", tuple(map(str, range(len(texts)))), tuple(texts), None)
    opened.save(place / "classifier", task=task)
    make: Any = transformers.pipeline
    pipeline = make("text-classification", str(place / "classifier"))
    pair = loaded.model.tasks[task].pair
    asked = [{"text": a[0], "text_pair": a[1]} if pair else a[0] for a in texts]
    fitting = [each for each, of in loaded.model.tasks.items() if of.pair == pair]
    found: dict[str, Answers] = {
        PLAIN: lambda: pipeline(asked, truncation=True),
        "pipeline, batches of 64": lambda: pipeline(asked, truncation=True, batch_size=64),
        "predict": lambda: loaded.predict(task, texts),
        f"all tasks ({len(fitting)})": lambda: loaded.outputs_of(fitting, loaded.tokenize(table)),
    }
    for name, quantize in {"onnx": None, "onnx int8": "int8"}.items():
        try:
            opened.save(place / name, "onnx", task=task, quantize=quantize)
        except UserError as error:
            print(error)
            continue
        (file,) = (place / name).glob("*.onnx")
        found[name] = partial(_by_file, file, loaded, task, table)
    return found


def _by_file(file: Path, loaded: TextModel, task: str, table: Table) -> object:
    return answers_of(file, loaded, {task: loaded.tokenize(table)})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--task", required=True)
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    opened = Run.open(given.run)
    before = opened.predictions(given.task)
    columns = [before[name] for name in ("text", "text2") if name in before]
    rows = list(zip(*columns, strict=True))
    texts = (rows * (given.texts // len(rows) + 1))[: given.texts]
    opened.predictor.model.cpu()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as place:
        works = contestants(opened, given.task, texts, Path(place))
        torch.set_num_threads(given.threads)  # which opening a model sets
        prepared: Any = {name: partial(as_it_is, work) for name, work in works.items()}
        seconds = interleaved(prepared, given.rounds)
    about = f"{opened.results.encoder}, {given.task}, {len(texts):,} texts, {given.rounds} rounds"
    table = Shown(title=about, title_justify="left")
    for heading in ("", "examples/s", f"÷ {PLAIN}"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, times in seconds.items():
        rate = f"{len(texts) / median(times):,.0f}"
        table.add_row(name, rate, f"{ratio(seconds, PLAIN, name):.2f}")
    Console().print(table)
    print(machine())


if __name__ == "__main__":
    main()
