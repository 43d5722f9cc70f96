"""Finished runs in one small file, fit to be published: without texts and this machine's paths.

It holds what a report reads: each run's results, and its answers to the dev sets. Unpacked, it is
a folder of finished runs.
"""

import io
import json
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from mtl_bert.runs.answers import LEFT_OUT
from mtl_bert.runs.results import RunFolder
from mtl_bert.utils.files import replacing, without_places

KEPT = ("id", "text", "label", "prediction", "confidence")  # of answers


def write_archive(runs: Mapping[Any, str | Path], path: Path) -> None:
    """Write runs by their names, from their folders: the same bytes for the same ones.

    Like lies beside like, which packs best.
    """
    folders = [(RunFolder(Path(name)), RunFolder(Path(place))) for name, place in runs.items()]
    contents: dict[Path, str] = {}
    tasks: dict[str, None] = {}
    for own, source in folders:
        results = without_places(json.loads(source.results.read_text("utf-8")))
        tasks |= dict.fromkeys(results["tasks"])
        contents[own.results] = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    for task, (own, source) in product(tasks, folders):
        # A report of the archive says what is missing, as one of the run does.
        with suppress(OSError, ValueError, KeyError):
            answers = pd.read_csv(source.predictions(task), dtype=str, keep_default_na=False)
            kept = answers.assign(text=LEFT_OUT)[list(KEPT)]
            contents[own.predictions(task)] = kept.to_csv(index=False, lineterminator="\n")
    with replacing(path) as temporary, tarfile.open(temporary, "w:xz") as archive:
        for name, text in contents.items():
            entry = tarfile.TarInfo(name.as_posix())
            entry.size = len(content := text.encode())
            archive.addfile(entry, io.BytesIO(content))
