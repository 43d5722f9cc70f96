"""``mtl-bert cache``, and what runs leave there."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.table import Encoded
from mtl_bert.data.token_cache import GIBI, Cache
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import UserError
from tests.cli.driving import Command, train_here

HEADER = "id\tsentence1\tsentence2\tis_duplicate\n"
SENTENCES = [f"the film {n} was {'very ' * n}good" for n in range(14)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("MTL_BERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The course's files for one task of pairs, with a bad row in each split."""
    (tmp_path / "files").mkdir()
    pairs = [f"{n}\t{text}\t{text} {n}\t{n % 2}\n" for n, text in enumerate(SENTENCES)]
    for split in ("train", "dev"):
        text = HEADER + "".join(pairs) + f"bad {split}\t\tb\t1\n"
        (tmp_path / "files" / f"quora-{split}.csv").write_text(text)
    return tmp_path / "files"


def overrides(files: Path, *more: str) -> list[str]:
    small = [
        "trainer.accelerator=cpu",
        "trainer.threads=1",
        "trainer.enable_progress_bar=false",
        "epochs=1",
    ]
    data = ["data=cs224n", f"data.dir={files}", "data.max_bad_share=0.1", "model.max_length=16"]
    return ["task=[qqp]", *data, *small, "batch_size=4", *more]


def train(directory: Path, files: Path, *more: str) -> dict[str, object]:
    """What a run says about its data, and its scores."""
    from mtl_bert.training import run as running
    from tests.composing import settings_of

    running.run(settings_of(*overrides(files, *more)), directory)
    results = json.loads((directory / "results.json").read_text("utf-8"))
    return {key: results[key] for key in ("data", "epochs", "utilisation", "tasks")}


def without_times(results: dict[str, object]) -> str:
    def kept(node: object) -> object:
        if isinstance(node, dict):
            return {k: kept(v) for k, v in node.items() if "seconds" not in k}
        return [kept(item) for item in node] if isinstance(node, list) else node

    return json.dumps(kept(results))


@pytest.mark.parametrize("share", [(), ("data.share=0.4", "data.dev_limit=5")])
def test_a_second_run_reads_no_training_file_and_is_the_same(
    files: Path,
    place: Path,
    tmp_path: Path,
    share: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uncached = train(tmp_path / "uncached", files, "trainer.cache=false", *share)
    assert not place.exists()
    cold = train(tmp_path / "cold", files, *share)
    blocks = Delimited.blocks

    def dev_only(self: Delimited, task: Task, split: str, *, whole: bool = True) -> object:
        assert split == "dev"
        return blocks(self, task, split, whole=whole)

    monkeypatch.setattr(Delimited, "blocks", dev_only)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        warm = train(tmp_path / "warm", files, *share)
    assert without_times(uncached) == without_times(cold) == without_times(warm)
    assert warm["data"]["skipped"] == {  # type: ignore[index]
        str(files / f"quora-{split}.csv"): 1 for split in ("train", "dev")
    }
    (said,) = [line for line in caplog.messages if line.startswith("encoded ")]
    assert "encoded 0 examples in " in said
    assert "28 were in the cache" in said
    for split in ("train", "dev"):
        said = f"quora-{split}.csv: 1 of 15 rows cannot be used (quora-{split}.csv line 16: "
        assert sum(said in message for message in caplog.messages) == 1
    assert caplog.text.count("texts were cut at 16 tokens") == 2


def test_too_many_bad_rows_are_refused_from_the_cache_too(
    files: Path, place: Path, tmp_path: Path
) -> None:
    for name in ("cold", "warm"):
        if name == "warm":
            train(tmp_path / "fills", files)
            (files / "quora-dev.csv").write_text(HEADER + "1\ta\tb\t1\n")
        with pytest.raises(UserError, match=r"quora-(train|dev).csv: 1 of 15 rows.*at most 5\.00%"):
            train(tmp_path / name, files, "data.max_bad_share=0.05")
        assert not (tmp_path / name).exists()


def test_training_sets_are_cut_to_a_ratio_with_and_without_the_cache(
    place: Path, tmp_path: Path
) -> None:
    sizes = []
    for name in ("cold", "warm"):
        train_here(tmp_path / name, "data.limit=40", "data.imbalance=4")
        found = json.loads((tmp_path / name / "results.json").read_text("utf-8"))["data"]["sizes"]
        sizes.append({task: size["train"] for task, size in found.items()})
    assert sizes[0] == sizes[1]
    assert sorted(sizes[0].values()) == [10, 40]


def test_shares_are_of_one_entry(place: Path, tmp_path: Path) -> None:
    for name, share in (("a", 1), ("b", 0.5), ("c", 0.25)):
        train_here(tmp_path / name, f"data.share={share}", f"seed={len(name)}")
    assert len(Cache(place, GIBI).entries()) == 4  # two tasks, train and dev


def test_a_run_goes_on_without_a_cache(
    command: Command, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-directory").write_text("")
    monkeypatch.setenv("MTL_BERT_CACHE", str(tmp_path / "no-directory"))
    ended = command("train", *overrides(files, "trainer.baseline=false", "hydra.run.dir=run"))
    assert ended.code == 0, ended.err
    assert ended.err.count("cache: nothing is kept") == 1


def fill(place: Path, **rows: int) -> None:
    cache = Cache(place, GIBI)
    for number, (origin, count) in enumerate(rows.items()):
        tokens, offsets = np.zeros(count * 145, np.uint16), np.arange(count + 1) * 145
        made = Encoded(tokens, None, offsets, 1, None, np.zeros(count, np.bool_), origin)
        cache.get(f"{number:032x}", lambda made=made: made, origin)


def test_what_is_kept_is_listed(command: Command, place: Path, monkeypatch: object) -> None:
    outcome = command("cache")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{place}: 0 entries, 0.0 MiB\n"
    fill(place, older=12_345, newer=7000)
    outcome = command("cache")
    assert outcome.code == 0
    first, *table = outcome.out.splitlines()
    assert first == f"{place}: 2 entries, 5.5 MiB"
    rows = [line for line in table if "older" in line or "newer" in line]
    assert "newer" in rows[0]
    assert [word in rows[1] for word in ("12,345", "3.5 MiB", "20")] == [True] * 3


def test_clear(command: Command, place: Path) -> None:
    fill(place, a=1000, b=2000)
    outcome = command("cache", "clear")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{place}: removed 2 entries, 0.9 MiB\n"
    assert list(place.iterdir()) == []
    assert command("cache", "clear").out == f"{place}: removed 0 entries, 0.0 MiB\n"


def test_an_unknown_command(command: Command, place: Path) -> None:
    fill(place, a=10)
    outcome = command("cache", "empty")
    assert outcome.code == 2
    assert "clear" in outcome.err
    assert len(Cache(place, GIBI).entries()) == 1


def test_it_needs_no_torch(place: Path) -> None:
    code = (
        "import sys; from mtl_bert.cache import main; main([]); "
        "print(sorted({'torch', 'transformers', 'lightning', 'hydra'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
