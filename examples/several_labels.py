"""Several labels of one text: three tasks out of one file, from the file to answers.

    python examples/several_labels.py     # made-up notes and a small random encoder: a minute

Each note has topics (any number at once), a mood (one of three) and, mostly, whether it is urgent.
Every label column is a task: conf/task/topics.yaml, mood.yaml and urgent.yaml beside this program.
A step has the same notes for all three as far as they have the labels, and each goes through the
encoder once where that costs less. ``mtl-bert new-task notes.jsonl`` writes such files for yours.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mtl_bert

HERE = Path(__file__).parent
TOPICS = {"price": "cheap cost euro", "delivery": "parcel courier late", "quality": "broken solid"}
MOODS = {"bad": "awful poor", "fair": "fine fair", "good": "great lovely"}


def notes(count: int, seed: int) -> list[dict[str, Any]]:
    """Made-up notes whose words tell their labels."""
    draw, found = random.Random(seed), []
    for number in range(count):
        topics = [topic for topic in TOPICS if draw.random() < 0.4]
        mood, urgent = draw.choice([*MOODS]), draw.random() < 0.15
        words = [draw.choice(TOPICS[topic].split()) for topic in topics]
        words += [draw.choice(MOODS[mood].split()), *(["now"] if urgent else [])]
        words += draw.choices(["the", "a", "my", "it", "and", "with", "so"], k=6)
        draw.shuffle(words)
        known = None if draw.random() < 0.1 else ["no", "yes"][urgent]
        text = " ".join(words) + f" {number}"
        found.append({"text": text, "topics": topics, "mood": mood, "urgent": known})
    return found


def main(argv: Sequence[str] | None = None) -> mtl_bert.Run:
    """Make the file, train, answer, and return the run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("several_labels"), help="a new folder")
    parser.add_argument("--notes", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args(argv)

    options.out.mkdir()
    rows = notes(options.notes, seed=1)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (options.out / "notes.jsonl").write_text(text, "utf-8")
    run = mtl_bert.train(
        *("task=[topics,mood,urgent]", "data=files", f"data.dir={options.out}", "model=tiny"),
        *("sampler=rr", "batch_size=16", "lr=1e-3", f"epochs={options.epochs}"),
        out=options.out / "run",
        config_dir=HERE / "conf",
    )
    for task, score in run.results.tasks.items():
        print(task, {name: round(value, 3) for name, value in score.all.items()})
        print(run.predict(task, ["the courier was late now and it is awful", "a lovely price"]))
    return run


if __name__ == "__main__":
    main()
