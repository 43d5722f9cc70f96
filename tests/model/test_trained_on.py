"""What model cards say of an encoder's data, and which tasks that concerns."""

import socket
from itertools import pairwise
from pathlib import Path

import huggingface_hub
import pytest

import mtl_bert.model.encoder
from mtl_bert.model.encoder import data_sets_of
from mtl_bert.runs.factories import make, make_tasks
from tests.cli.driving import train_here
from tests.composing import settings_of

CARD = """---
license: apache-2.0
datasets:
- snli
- embedding-data/QQP
---
# A model
"""


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is there as far as the libraries know, and must not be used."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the network was used")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(mtl_bert.model.encoder, "require_hub", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def card(place: Path, text: str | bytes) -> str:
    (place / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(place)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CARD, ["snli", "embedding-data/QQP"]),
        (CARD.replace("\n", "\r\n"), ["snli", "embedding-data/QQP"]),
        ("\ufeff" + CARD, ["snli", "embedding-data/QQP"]),
        ("---\ndatasets: glue\n---\n", ["glue"]),
        ("---\ndatasets: [1, null]\n---\n", ["1", "None"]),
        # Written out, the next would take all memory.
        (
            "---\na: &a [x, x, x]\n"
            + "".join(
                f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmn")
            )
            + "datasets: [*n, qqp]\n---\n",
            ["qqp"],
        ),
        ("---\ndatasets:\n---\n", []),
        ("---\nlicense: mit\n---\n", []),
        ("# No metadata, but the word datasets: qqp\n", []),
        ("", []),
        ("---\ndatasets: [qqp\n---\n", []),  # not YAML
        ("---\n- a list\n---\n", []),
        (b"---\ndatasets: [qqp]\nauthor: \xff\n---\n", []),  # not UTF-8
    ],
)
def test_a_directorys_card(tmp_path: Path, text: str | bytes, named: list[str]) -> None:
    assert data_sets_of(card(tmp_path, text)) == named


@pytest.mark.usefixtures("no_network")
def test_a_directory_without_a_card(tmp_path: Path) -> None:
    assert data_sets_of(str(tmp_path)) == []


@pytest.mark.usefixtures("no_network")
def test_a_card_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = tmp_path / "models--somebody--some-bert"
    (repo / "snapshots" / "abc").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    card(repo / "snapshots" / "abc", CARD)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert data_sets_of("somebody/some-bert") == ["snli", "embedding-data/QQP"]


def test_a_hub_that_must_not_be_asked_says_nothing() -> None:
    assert data_sets_of("somebody/some-bert") == []


@pytest.mark.parametrize(
    ("task", "named", "found"),
    [
        ("qqp", "embedding-data/QQP", True),
        ("qqp", "sentence-transformers/quora-duplicates", True),
        ("qqp", "quora_pairs", True),
        ("qqp", "quorate", False),
        ("qqp", "glue", False),
        ("sts", "mteb/stsbenchmark-sts", True),
        ("sts", "PhilipMay/stsb_multi_mt", True),
        ("sts", "sts-b", True),
        ("sts", "sts12", False),
        ("sst", "stanfordnlp/sst2", True),
        ("sst", "SetFit/sst5", True),
        ("sst", "assets", False),
    ],
)
def test_tasks_know_by_which_words_their_data_go(task: str, named: str, found: bool) -> None:
    tasks = {made.name: made for made in make_tasks(settings_of())}
    assert tasks[task].among(["snli", named]) == ([named] if found else [])


def test_a_task_that_goes_by_no_word_is_never_found() -> None:
    task = make_tasks(settings_of("~tasks.sst.known_as", "task=[sst]"))[0]
    assert task.among(["sst", ""]) == []


def test_a_run_says_what_its_encoder_has_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = make(settings_of().model.source)
    place = tmp_path / "encoder"
    tiny.encoder().save_pretrained(place)
    tiny.tokenizer().save_pretrained(place)
    card(place, "---\ndatasets: [snli, mteb/stsbenchmark-sts, sts-b]\n---\n")
    with caplog.at_level("INFO"):
        results = train_here(tmp_path / "run", "model=local", f"model.path={place}", "B=8")
    assert results.data.seen == {"sts": ["mteb/stsbenchmark-sts", "sts-b"]}
    note = (
        "the encoder has seen the data of sts before: its model card names "
        "mteb/stsbenchmark-sts, sts-b"
    )
    assert note in results.notes
    assert note in (tmp_path / "run" / "train.log").read_text("utf-8")
