"""Tokens out of the cache are those that the texts would give, and only those."""

import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import BertTokenizer

from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.corpus import Corpus
from mtl_bert.data.sources.delimited import Delimited
from mtl_bert.data.sources.records import Source
from mtl_bert.data.sources.synthetic import Synthetic
from mtl_bert.data.table import Encoded, Table
from mtl_bert.data.token_cache import GIBI, Cache
from mtl_bert.data.tokenize import Tokenize
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


TOKENIZE = Tokenize(TOKENIZER, 16)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", GIBI)


def tokens_of(
    cache: Cache, source: Source, task: Task, tokenize: Tokenize = TOKENIZE, split: str = "train"
) -> Encoded:
    return Corpus(source, [task], 0.1).tokens(tokenize, cache, [split])[split][task.name]


def unread(*_: object, **__: object) -> Table:
    raise AssertionError("the table was read")


@dataclass(frozen=True)
class Prepare:
    """The tokens of a task's split of the file, from the cache where they are in it."""

    cache: Cache
    place: Path

    def __call__(
        self, tokenize: Tokenize = TOKENIZE, task: Task | None = None, split: str = "train"
    ) -> Encoded:
        source = Delimited("files", str(self.place))
        return tokens_of(self.cache, source, task or task_of(), tokenize, split)

    def again(
        self, tokenize: Tokenize = TOKENIZE, task: Task | None = None, split: str = "train"
    ) -> Encoded:
        """The same of what must be in the cache."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Delimited, "blocks", unread)
            return self(tokenize, task, split)


@pytest.fixture
def prepare(cache: Cache, place: Path) -> Prepare:
    return Prepare(cache, place)


@pytest.mark.parametrize("joint", [True, False])
def test_tokens_and_what_is_known_of_the_table_come_back(prepare: Prepare, joint: bool) -> None:
    tokenize = replace(TOKENIZE, cross_encode=joint)
    expected = tokenize(Delimited("files", str(prepare.place)).read(task_of(), "train"))
    assert expected.truncated
    assert expected.skipped == ("train.tsv line 14: two is missing",)
    assert_same_tokens(prepare(tokenize), expected)
    assert_same_tokens(prepare.again(replace(tokenize, tokenizer=TINY.tokenizer())), expected)


def test_unlabelled_rows_and_no_segments(prepare: Prepare) -> None:
    plain = TINY.tokenizer()
    plain.model_input_names = ["input_ids", "attention_mask"]
    tokenize = replace(TOKENIZE, tokenizer=plain)
    first = prepare(tokenize, split="test")
    assert first.types is first.labels is None
    assert_same_tokens(prepare.again(tokenize, split="test"), first)


def test_what_the_tokenizer_did_before_makes_no_difference(prepare: Prepare) -> None:
    used = TINY.tokenizer()
    used(["some", "text"], padding="max_length", max_length=7, truncation=True)
    first = prepare()
    assert_same_tokens(prepare.again(replace(TOKENIZE, tokenizer=used)), first)
    assert_same_tokens(prepare.again(replace(TOKENIZE, bar=True)), first)


def test_files_may_move(prepare: Prepare, place: Path) -> None:
    first = prepare()
    moved = place.rename(place.parent / "moved")
    assert_same_tokens(
        replace(prepare, place=moved).again(), replace(first, origin=str(moved / "train.tsv"))
    )


def vocabulary(**more: int) -> dict[str, int]:
    return {**TOKENIZER.get_vocab(), **more}


Change = Callable[[Tokenize, Path], Any]
CHANGES: dict[str, Change] = {
    "content": lambda t, p: (p / "train.tsv").write_text(FILE + BAD.replace("no", "a")) and None,
    "only a blank": lambda t, p: (p / "train.tsv").write_text(FILE + BAD + "\n") and None,
    "columns": lambda t, p: task_of(text=["two", "one"]),
    "one column": lambda t, p: task_of(text=["two"], pair=False),
    "label column": lambda t, p: task_of(label="id", head=MultiClass([*"abcdefghijkl"])),
    "names of rows": lambda t, p: task_of(id="one"),
    "labels": lambda t, p: task_of(head=MultiClass(["a", "b"])),
    "length": lambda t, p: replace(t, max_length=15),
    "alone": lambda t, p: replace(t, cross_encode=False),
    "vocabulary": lambda t, p: replace(
        t, tokenizer=BertTokenizer(vocab=vocabulary(new=len(TOKENIZER)))
    ),
    "case": lambda t, p: replace(
        t, tokenizer=BertTokenizer(vocab=vocabulary(), do_lower_case=False)
    ),
    "separator": lambda t, p: (
        (p / "train.tsv").write_text(FILE.replace("\t", ",")) and task_of(separator=",")
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_whatever_decides_tokens_or_rows_is_a_new_entry(
    prepare: Prepare, place: Path, kind: str
) -> None:
    prepare()
    changed = CHANGES[kind](TOKENIZE, place)
    task = changed if isinstance(changed, Task) else task_of()
    tokenize = changed if isinstance(changed, Tokenize) else TOKENIZE
    with pytest.raises(AssertionError, match="was read"):
        prepare.again(tokenize, task)
    expected = tokenize(Delimited("files", str(place)).read(task, "train"))
    assert_same_tokens(prepare(tokenize, task), expected)
    assert_same_tokens(prepare.again(tokenize, task), expected)


def test_a_side_to_cut_is_a_setting_of_the_tokenizer(prepare: Prepare) -> None:
    left = TINY.tokenizer()
    left.truncation_side = "left"
    assert not np.array_equal(prepare().tokens, prepare(replace(TOKENIZE, tokenizer=left)).tokens)


def test_labels_count_although_the_text_is_the_same(prepare: Prepare) -> None:
    prepare()
    labelled, unlabelled = prepare.again(split="dev"), prepare(split="test")
    assert labelled.labels is not None
    assert unlabelled.labels is None


def reviews(count: int, rng: np.random.Generator) -> list[tuple[tuple[str, ...], float]]:
    return [((f"text {rng.integers(1000)}",), float(rng.integers(2))) for _ in range(count)]


def test_made_up_text(cache: Cache) -> None:
    def synthetic(read: bool, split: str = "train", size: int = 9, **settings: Any) -> Encoded:
        sources = {"demo": {"make": reviews, "train": size, "dev": 5}}
        source = Synthetic(**{"name": "demo", "scale": 2.0, **settings})
        with pytest.MonkeyPatch.context() as patch:
            if not read:
                patch.setattr(Synthetic, "blocks", unread)
            return tokens_of(cache, source, make_task(sources=sources), split=split)

    assert_same_tokens(synthetic(read=True), synthetic(read=False))
    for change in ({"size": 10}, {"scale": 1.0}, {"seed": 1}, {"split": "dev"}):
        with pytest.raises(AssertionError, match="was read"):
            synthetic(read=False, **change)  # type: ignore[arg-type]


class Renamed(BertTokenizer):
    """Somebody's own, whose code we do not know."""


def test_what_cannot_be_told_apart_is_not_kept(prepare: Prepare) -> None:
    own = replace(TOKENIZE, tokenizer=Renamed(vocab=vocabulary()))
    sources = {"demo": {"make": lambda n, rng: reviews(n, rng), "train": 9, "dev": 5}}
    task, source = make_task(sources=sources), Synthetic("demo", 1.0)
    for _ in range(2):
        assert len(prepare(own)) == 12
        assert len(tokens_of(prepare.cache, source, task)) == 9
    assert prepare.cache.entries() == []


# Other processes.


def test_pickling_sends_no_arrays(prepare: Prepare) -> None:
    first = prepare()
    sent = pickle.dumps(first)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert_same_tokens(received, first)
    assert str(prepare.cache.place) in Path("/proc/self/maps").read_text("utf-8")
    prepare.cache.clear()  # gone from the disk, not from memory
    assert_same_tokens(pickle.loads(pickle.dumps(first)), first)
    assert_same_tokens(pickle.loads(pickle.dumps(received)), first)


class Rows(Dataset[Batch]):
    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> Batch:
        return Tokenized(self.encoded, torch.float32)[np.array([row])]


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_that_make_batches(
    prepare: Prepare, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the tokenizer has used threads of its own in this process."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    encoded = prepare()
    context = multiprocessing.get_context(method)
    loader = DataLoader(
        Rows(encoded), batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60
    )
    for row, batch in enumerate(loader):
        here = Tokenized(encoded, torch.float32)[np.array([row])]
        assert torch.equal(batch.input_ids, here.input_ids)
        assert torch.equal(batch.token_type_ids, here.token_type_ids)
        assert batch.labels.tolist() == [row % 2]
