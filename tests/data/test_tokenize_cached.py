"""Tokens out of the cache are those that the texts would give, and only those."""

import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import BertTokenizer

from mtl_bert.data import Delimited, Synthetic, Table
from mtl_bert.data.batch import Batch, collate
from mtl_bert.data.token_cache import GIBI, Cache
from mtl_bert.data.tokenize import Encoded, Encoding
from mtl_bert.tasks import Binary, MultiClass, Task
from tests.factories import TINY, assert_same_tokens, make_task

FILE = "id\tone\ttwo\tlabel\n" + "".join(
    f"{n}\tthe film was fine {n}\tthe film is {'very ' * n} good\t{n % 2}\n" for n in range(12)
)
BAD = "x\tno second text\t\t1\n"
COLUMNS: dict[str, Any] = {"text": ["one", "two"], "label": "label", "id": "id"}
TOKENIZER = TINY.tokenizer()


def task_of(**changes: Any) -> Task:
    files = {"train": "train.tsv", "dev": "train.tsv", "test": "train.tsv"}
    head = changes.pop("head", Binary())
    pair = changes.pop("pair", True)
    return make_task(pair=pair, head=head, sources={"files": {**files, **COLUMNS, **changes}})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.tsv").write_text(FILE + BAD)
    return tmp_path / "data"


@pytest.fixture
def encoding(tmp_path: Path) -> Encoding:
    return Encoding(TOKENIZER, 16, True, Cache(tmp_path / "cache", GIBI))


def unread() -> Table:
    raise AssertionError("the table was read")


def prepare(encoding: Encoding, place: Path, task: Task | None = None, split: str = "train") -> Any:
    source, task = Delimited("files", str(place)), task or task_of()
    return encoding.prepare(task, split, source, lambda: source.read(task, split))


def again(encoding: Encoding, place: Path, task: Task | None = None, split: str = "train") -> Any:
    """The same of what must be in the cache."""
    return encoding.prepare(task or task_of(), split, Delimited("files", str(place)), unread)


@pytest.mark.parametrize("joint", [True, False])
def test_tokens_and_what_is_known_of_the_table_come_back(
    encoding: Encoding, place: Path, joint: bool
) -> None:
    encoding = replace(encoding, joint=joint)
    expected = replace(encoding, cache=None)(
        Delimited("files", str(place)).read(task_of(), "train")
    )
    assert expected.truncated
    assert [row.place for row in expected.skipped] == ["train.tsv line 14"]
    first = prepare(encoding, place)
    assert_same_tokens(first, expected)
    assert_same_tokens(again(replace(encoding, tokenizer=TINY.tokenizer()), place), expected)


def test_unlabelled_rows_and_no_segments(encoding: Encoding, place: Path) -> None:
    plain = TINY.tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    encoding = replace(encoding, tokenizer=plain)
    first = prepare(encoding, place, split="test")
    assert first.types is first.labels is None
    assert_same_tokens(again(encoding, place, split="test"), first)


def test_what_the_tokenizer_did_before_makes_no_difference(encoding: Encoding, place: Path) -> None:
    used = TINY.tokenizer()
    used(["some", "text"], padding="max_length", max_length=7, truncation=True)
    first = prepare(encoding, place)
    assert_same_tokens(again(replace(encoding, tokenizer=used), place), first)
    assert_same_tokens(again(replace(encoding, bar=True), place), first)


def test_files_may_move(encoding: Encoding, place: Path) -> None:
    first = prepare(encoding, place)
    moved = place.rename(place.parent / "moved")
    assert_same_tokens(again(encoding, moved), replace(first, origin=str(moved / "train.tsv")))


def vocabulary(**more: int) -> dict[str, int]:
    return {**TOKENIZER.get_vocab(), **more}


Change = Callable[[Encoding, Path], Any]
CHANGES: dict[str, Change] = {
    "content": lambda e, p: (p / "train.tsv").write_text(FILE + BAD.replace("no", "a")) and None,
    "only a blank": lambda e, p: (p / "train.tsv").write_text(FILE + BAD + "\n") and None,
    "columns": lambda e, p: task_of(text=["two", "one"]),
    "one column": lambda e, p: task_of(text=["two"], pair=False),
    "label column": lambda e, p: task_of(label="id", head=MultiClass([*"abcdefghijkl"])),
    "names of rows": lambda e, p: task_of(id="one"),
    "labels": lambda e, p: task_of(head=MultiClass(["a", "b"])),
    "length": lambda e, p: replace(e, longest=15),
    "alone": lambda e, p: replace(e, joint=False),
    "vocabulary": lambda e, p: replace(
        e, tokenizer=BertTokenizer(vocab=vocabulary(new=len(TOKENIZER)))
    ),
    "case": lambda e, p: replace(
        e, tokenizer=BertTokenizer(vocab=vocabulary(), do_lower_case=False)
    ),
    "separator": lambda e, p: (
        (p / "train.tsv").write_text(FILE.replace("\t", ",")) and task_of(separator=",")
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_whatever_decides_tokens_or_rows_is_a_new_entry(
    encoding: Encoding, place: Path, kind: str
) -> None:
    prepare(encoding, place)
    changed = CHANGES[kind](encoding, place)
    task = changed if isinstance(changed, Task) else task_of()
    encoding = changed if isinstance(changed, Encoding) else encoding
    with pytest.raises(AssertionError, match="was read"):
        again(encoding, place, task)
    source = Delimited("files", str(place))
    expected = replace(encoding, cache=None)(source.read(task, "train"))
    assert_same_tokens(prepare(encoding, place, task), expected)
    assert_same_tokens(again(encoding, place, task), expected)


def test_a_side_to_cut_is_a_setting_of_the_tokenizer(encoding: Encoding, place: Path) -> None:
    left = TINY.tokenizer()
    left.truncation_side = "left"
    assert not np.array_equal(
        prepare(encoding, place).tokens, prepare(replace(encoding, tokenizer=left), place).tokens
    )


def test_labels_count_although_the_text_is_the_same(encoding: Encoding, place: Path) -> None:
    prepare(encoding, place)
    labelled, unlabelled = (
        again(encoding, place, split="dev"),
        prepare(encoding, place, split="test"),
    )
    assert labelled.labels is not None
    assert unlabelled.labels is None


def made(count: int, rng: np.random.Generator) -> list[tuple[tuple[str, ...], float]]:
    return [((f"text {rng.integers(1000)}",), float(rng.integers(2))) for _ in range(count)]


def test_made_up_text(encoding: Encoding) -> None:
    def synthetic(read: bool, split: str = "train", size: int = 9, **settings: Any) -> Encoded:
        sources = {"demo": {"make": made, "train": size, "dev": 5}}
        source = Synthetic(**{"name": "demo", "scale": 2.0, **settings})
        task = make_task(settings.pop("task", "toy"), sources=sources)
        return encoding.prepare(
            task, split, source, (lambda: source.read(task, split)) if read else unread
        )

    assert_same_tokens(synthetic(read=True), synthetic(read=False))
    for change in ({"size": 10}, {"scale": 1.0}, {"seed": 1}, {"split": "dev"}):
        with pytest.raises(AssertionError, match="was read"):
            synthetic(read=False, **change)  # type: ignore[arg-type]


class Renamed(BertTokenizer):
    """Somebody's own, whose code we do not know."""


def test_what_cannot_be_told_apart_is_not_kept(encoding: Encoding, place: Path) -> None:
    own = replace(encoding, tokenizer=Renamed(vocab=vocabulary()))
    sources = {"demo": {"make": lambda n, rng: made(n, rng), "train": 9, "dev": 5}}
    task, source = make_task(sources=sources), Synthetic("demo", 1.0)
    for _ in range(2):
        assert len(prepare(own, place)) == 12
        assert len(encoding.prepare(task, "train", source, lambda: source.read(task, "train"))) == 9
    assert encoding.cache is not None
    assert encoding.cache.entries() == []


# Other processes.


def test_pickling_sends_no_arrays(encoding: Encoding, place: Path) -> None:
    first = prepare(encoding, place)
    sent = pickle.dumps(first)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert_same_tokens(received, first)
    assert str(place.parent / "cache") in Path("/proc/self/maps").read_text("utf-8")
    assert encoding.cache is not None
    encoding.cache.clear()
    assert_same_tokens(
        pickle.loads(pickle.dumps(first)), first
    )  # gone from the disk, not from memory
    assert_same_tokens(pickle.loads(pickle.dumps(received)), first)


class Rows(Dataset[Batch]):
    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> Batch:
        return collate(self.encoded, np.array([row]), torch.float32, 0)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_that_make_batches(
    encoding: Encoding, place: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the tokenizer has used threads of its own in this process."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    encoded = prepare(encoding, place)
    context = multiprocessing.get_context(method)
    loader = DataLoader(
        Rows(encoded), batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60
    )
    for row, batch in enumerate(loader):
        here = collate(encoded, np.array([row]), torch.float32, 0)
        assert torch.equal(batch.tokens, here.tokens)
        assert torch.equal(batch.types, here.types)
        assert batch.labels.tolist() == [row % 2]
