"""Memory and time of reading and encoding a large file, and of runs with many tasks.

    python -m benchmarks.reading --rows 3000000 --tokenizer DIR   # a file of about 120 bytes a row
    python -m benchmarks.reading --tasks 50                       # 50 small tasks, start to end

The file lies in a temporary folder and is removed again. Memory is the most that the process had
beyond what it had with everything imported. Seconds are by the clock, and of CPU time, which tells
more on a machine that has other work.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

import yaml

MEBI = 2**20


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_rows(path: Path, rows: int, words: list[str]) -> None:
    """A tab-separated file of texts of some 15 words, with an id and a label of 0 or 1."""
    draw = random.Random(0)
    with path.open("w") as file:
        file.write("id\ttext\tlabel\n")
        for n in range(rows):
            file.write(f"{n}\t{' '.join(draw.choices(words, k=15))} {n}\t{n % 2}\n")


def read(rows: int, tokenizer: str) -> None:
    """Read and encode so many rows, as training does when they are not in the cache."""
    from torch import nn
    from transformers import AutoTokenizer

    from mtl_bert.data.corpus import Corpus
    from mtl_bert.data.sources.delimited import Delimited
    from mtl_bert.data.token_cache import GIBI, Cache
    from mtl_bert.data.tokenize import Tokenize
    from mtl_bert.tasks import Binary, Task

    made = AutoTokenizer.from_pretrained(tokenizer)
    words = [w for w in sorted(made.get_vocab()) if w.isascii() and w.isalpha() and len(w) > 3]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "train.tsv"
        write_rows(file, rows, words[:5000])
        files = {"train": str(file), "text": ["text"], "label": "label", "id": "id"}
        task = Task(
            "some", False, Binary(), nn.BCEWithLogitsLoss(), metrics=["accuracy"],
            sources={"files": files},
        )  # fmt: skip
        corpus = Corpus(Delimited("files", place, "\t"), [task], 0.01)
        made("so that it is loaded")
        before, began, worked = peak(), time.perf_counter(), time.process_time()
        cache = Cache(Path(place) / "cache", 100 * GIBI)
        encoded = corpus.tokens(Tokenize(made, 128), cache, ["train"])["train"]["some"]
        print(
            f"{len(encoded):,} rows, {file.stat().st_size / MEBI:,.0f} MiB: "
            f"{peak() - before:,.0f} MiB beyond imports, {time.perf_counter() - began:,.0f} s "
            f"({time.process_time() - worked:,.0f} s of CPU time), {len(encoded.tokens):,} tokens"
        )


def run(tasks: int) -> None:
    """Train so many tasks of 200 examples for two epochs, and report on them."""
    import mtl_bert
    from mtl_bert.report import app
    from mtl_bert.utils import console

    with tempfile.TemporaryDirectory() as folder:
        place, draw = Path(folder), random.Random(0)
        (place / "conf" / "task").mkdir(parents=True)
        names = [f"t{n}" for n in range(tasks)]
        for name in names:
            rows = [
                {"text": " ".join(draw.choices(names, k=9)), "label": n % 2} for n in range(250)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (place / f"{name}.jsonl").write_text(text)
            said = {
                "pair": False,
                "head": {"_target_": "mtl_bert.tasks.Binary"},
                "loss": {"_target_": "torch.nn.BCEWithLogitsLoss"},
                "metrics": ["accuracy", "f1"],
                "sources": {
                    "files": {
                        "train": f"{name}.jsonl", "dev_share": 0.2, "text": ["text"],
                        "label": "label",
                    }
                },
            }  # fmt: skip
            text = f"# @package tasks.{name}\n" + yaml.safe_dump(said)
            (place / "conf" / "task" / f"{name}.yaml").write_text(text)
        began = time.perf_counter()
        done = mtl_bert.train(
            f"task=[{','.join(names)}]", "data=files", f"data.dir={place}", "sampler=rr", "B=160",
            "epochs=2", "model=tiny", "trainer.accelerator=cpu", "trainer.baseline=false",
            "trainer.threads=1",
            out=place / "run", config_dir=place / "conf",
        )  # fmt: skip
        whole, epochs = time.perf_counter() - began, done.results.epochs
        steps = sum(phase.steps for epoch in epochs for phase in epoch.phases)
        seconds = sum(epoch.seconds for epoch in epochs)
        validation = sum(epoch.validation_seconds for epoch in epochs)
        began = time.perf_counter()
        console.run(app, "report", [str(place / "run"), "--out", str(place / "report")])
        print(
            f"{tasks} tasks: start and end {whole - seconds - validation:.1f} s, a step "
            f"{1000 * seconds / steps:.0f} ms, scoring {validation / len(epochs):.1f} s, report "
            f"{time.perf_counter() - began:.1f} s"
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--tokenizer", metavar="DIR")
    parser.add_argument("--tasks", type=int)
    options = parser.parse_args()
    if options.rows:
        read(options.rows, options.tokenizer)
    if options.tasks:
        run(options.tasks)


if __name__ == "__main__":
    main()
