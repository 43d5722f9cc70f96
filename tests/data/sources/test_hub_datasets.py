"""Public data sets: folders of the hub's form, the library's cache, and no network."""

import shutil
import socket
import sys
import time
from pathlib import Path

import datasets
import huggingface_hub
import pytest

import mtl_bert.data.sources.hub_datasets
import mtl_bert.utils.hub
from mtl_bert.data.sources.hub_datasets import Hub
from mtl_bert.data.table import DataError
from mtl_bert.utils.hub import HubError
from tests.factories import assert_tells, make_task

TRAIN = {"text": ["one", " two ", "", "four"], "label": [0, 1, 1, 7], "idx": [10, 11, 12, 13]}
DEV = {"text": ["five"], "label": [1], "idx": [0]}
TEST = {"text": ["six", "seven"], "label": [-1, -1], "idx": [0, 1]}  # how GLUE hides its labels
SPLITS = {"train": TRAIN, "validation": DEV, "test": TEST}
NAMES = {"train": "train", "dev": "validation", "test": "test"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Caches of the test's own."""
    place = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(place))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return place


@pytest.fixture
def online(monkeypatch):
    """The libraries may use a network, and find that nobody is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    for config in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)


def write_folder(place: Path) -> Path:
    """A data set with two configurations, laid out like nyu-mll/glue."""
    (place / "pairs").mkdir(parents=True)
    for name, columns in SPLITS.items():
        table = datasets.Dataset.from_dict(columns)
        table.to_parquet(place / "pairs" / f"{name}-00000-of-00001.parquet")
    files = "".join(f"  - {{split: {name}, path: pairs/{name}-*.parquet}}\n" for name in SPLITS)
    (place / "README.md").write_text(
        f"---\nconfigs:\n- config_name: pairs\n  data_files:\n{files}"
        f"- config_name: other\n  data_files: pairs/test-*.parquet\n---\n"
    )
    return place


def read(path, split="train", **changes):
    source = {"path": str(path), "config": "pairs", **NAMES, "text": ["text"], "label": "label"}
    return Hub().read(make_task(sources={"hub": {**source, **changes}}), split)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "folder")


def test_a_folder_with_configurations(folder):
    table = read(folder)
    assert table.texts == (("one",), ("two",))
    assert table.labels.tolist() == [0, 1]
    assert [str(row) for row in table.skipped] == [
        f"{folder} train row 2: text is missing",
        f"{folder} train row 3: label 7 is not 0 or 1",
    ]
    assert read(folder, "dev").texts == (("five",),)


def test_the_test_split_has_no_labels_to_trust(folder):
    table = read(folder, "test")
    assert len(table) == 2
    assert table.labels is None


def test_rows_are_called_by_their_place_or_a_column(folder):
    assert read(folder).ids == (f"{folder} train row 0", f"{folder} train row 1")
    assert read(folder, id="idx").ids == ("10", "11")


def test_a_folder_of_csv_files_without_configurations(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "train.csv").write_text('question1,question2,same\n"a, b",c,1\nd,e,0\n')
    task = make_task(
        pair=True,
        sources={
            "hub": {
                "path": str(folder),
                "train": "train",
                "text": ["question1", "question2"],
                "label": "same",
            }
        },
    )
    table = Hub().read(task, "train")
    assert table.texts == (("a, b", "c"), ("d", "e"))
    assert table.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"train": "trian"}, ["trian", "train"]),
        ({"config": "piars"}, ["piars", "pairs"]),
        ({"text": ["sentence"]}, ["sentence", "'text', 'label', 'idx'"]),
        ({"train": None}, ["toy", "sources.hub.train"]),
        ({"txt": ["text"]}, ["toy", "txt"]),
    ],
)
def test_what_a_data_set_does_not_have(folder, changes, parts):
    with pytest.raises(DataError) as raised:
        read(folder, **changes)
    assert_tells(raised.value, *parts)


def test_a_folder_that_does_not_load(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(DataError) as raised:
        read(folder, config=None)
    assert_tells(raised.value, str(folder), "sources.hub")
    (folder / "train.parquet").write_bytes(b"junk")
    with pytest.raises(DataError) as raised:
        read(folder, config=None)
    assert_tells(raised.value, str(folder), "sources.hub")


def test_without_the_library(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError) as raised:
        read(folder)
    assert_tells(raised.value, "datasets", "mtl-bert[hub]")


@pytest.mark.usefixtures("online")
def test_without_a_network_the_error_comes_within_seconds():
    began = time.monotonic()
    with pytest.raises(HubError) as raised:
        read("somebody/something")
    assert time.monotonic() - began < 5
    assert_tells(raised.value, "somebody/something", "no answer", "data=demo")
    assert datasets.config.HF_HUB_OFFLINE is False  # as it was


def test_a_hub_that_must_not_be_asked():
    with pytest.raises(HubError) as raised:
        read("somebody/something")
    assert_tells(raised.value, "somebody/something", "HF_HUB_OFFLINE", "data=demo")


@pytest.mark.usefixtures("online")
def test_a_hub_that_takes_calls_and_never_answers(monkeypatch):
    monkeypatch.setattr(mtl_bert.utils.hub, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        began = time.monotonic()
        with pytest.raises(HubError, match="no answer"):
            mtl_bert.utils.hub.require_hub("a thing", "write something else")
        assert time.monotonic() - began < 4


@pytest.mark.usefixtures("online")
def test_what_was_loaded_before_needs_no_network(tmp_path, cache, monkeypatch):
    """The library's cache, as a download of somebody/toy would have left it."""
    folder = write_folder(tmp_path / "toy")
    read(folder)
    (info,) = cache.rglob("dataset_info.json")
    prepared = info.parent  # …/toy/CONFIG/VERSION/HASH
    shutil.copytree(prepared, cache / "somebody___toy" / "pairs" / "0.0.0" / prepared.name)
    shutil.rmtree(folder)
    monkeypatch.setattr(
        mtl_bert.data.sources.hub_datasets,
        "require_hub",
        lambda *_: pytest.fail("the hub was asked"),
    )
    assert read("somebody/toy").texts == (("one",), ("two",))
    assert read("somebody/toy", "dev").texts == (("five",),)


@pytest.mark.usefixtures("online")
def test_what_is_not_in_the_cache_is_loaded_from_a_hub_that_answers(folder, monkeypatch):
    there = datasets.load_dataset(str(folder), "pairs", split="train")
    offline = []

    def load_dataset(path, config, *, split, trust_remote_code):
        assert trust_remote_code is False
        assert (path, config, split) == ("somebody/toy", "pairs", "train")
        offline.append(datasets.config.HF_HUB_OFFLINE)
        if offline[-1]:
            raise ConnectionError("not in the cache")
        return there

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(mtl_bert.data.sources.hub_datasets, "require_hub", lambda *_: None)
    assert len(read("somebody/toy")) == 2
    assert offline == [True, False]


@pytest.mark.usefixtures("online")
def test_what_the_hub_does_not_have_is_an_error_for_users(monkeypatch):
    def load_dataset(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("Dataset doesn't exist\non the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(mtl_bert.data.sources.hub_datasets, "require_hub", lambda *_: None)
    with pytest.raises(DataError) as raised:
        read("somebody/toy")
    assert_tells(raised.value, "somebody/toy", "Dataset doesn't exist")


@pytest.mark.parametrize("path", ["pandas", "csv"])
def test_what_would_read_any_files_that_lie_about_is_refused(path):
    place = {"path": path, "train": "train", "text": ["text"], "label": "label"}
    with pytest.raises(DataError, match=r"sources\.hub\.path: expected a data set or a folder"):
        Hub().read(make_task(sources={"hub": place}), "train")
