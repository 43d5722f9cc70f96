"""The metrics that docs/reference/metrics.md promises."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"


def promised(section: str) -> dict[str, str]:
    """The names in a section's table -> the last cell of their lines."""
    text = PAGE.read_text("utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: row[-1] for row in cells for name in re.findall(r"`([^`]+)`", row[0])}


PARTS = ("embeddings", "layer-0", "pooler")  # of the demo's encoder


def filled(names: Iterable[str], metrics: Mapping[str, str]) -> set[str]:
    """The names of some tasks -> their metrics."""
    tasks = list(metrics)
    pairs = [f"{a}-{b}" for i, a in enumerate(tasks) for b in tasks[i + 1 :]]
    found = set()
    for name in names:
        if "A-B" in name:
            found |= {
                name.replace("A-B", pair).replace("PART", part) for pair in pairs for part in PARTS
            }
        else:
            found |= {
                name.replace("TASK", task).replace("METRIC", metric)
                for task, metric in metrics.items()
            }
    return found
