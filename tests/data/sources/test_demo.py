"""The demo corpus: shapes, proportions, and the properties that the demo counts on."""

import re
from collections import Counter, defaultdict
from importlib.resources import files

import numpy as np
import pytest
from transformers import BertTokenizer

from mtl_bert.data.sources.demo import (
    CONCEPTS,
    JUDGEMENTS,
    SCENE,
    Example,
    paraphrase,
    sentiment,
    similarity,
)

TASKS = {"sentiment": sentiment, "paraphrase": paraphrase, "similarity": similarity}
SIZES = {"sentiment": (936, 1101), "paraphrase": (31020, 4431), "similarity": (662, 863)}


@pytest.fixture(scope="module")
def train() -> dict[str, list[Example]]:
    return {name: TASKS[name](SIZES[name][0], np.random.default_rng(0)) for name in TASKS}


@pytest.fixture(scope="module")
def dev() -> dict[str, list[Example]]:
    return {name: TASKS[name](SIZES[name][1], np.random.default_rng(1)) for name in TASKS}


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    return (files("mtl_bert.model.tiny") / "vocab.txt").read_text("utf-8").splitlines()


@pytest.fixture(scope="module")
def tokenizer(vocabulary: list[str]) -> BertTokenizer:
    vocab = {token: number for number, token in enumerate(vocabulary)}
    return BertTokenizer(vocab=vocab, do_lower_case=True)


def sentences(examples: list[Example]) -> list[str]:
    return [text for texts, _ in examples for text in texts]


@pytest.mark.parametrize("task", TASKS)
def test_same_generator_same_examples(task: str) -> None:
    first, second, other = (TASKS[task](50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == second
    assert first != other


@pytest.mark.parametrize("task", TASKS)
def test_a_generator_moves_on(task: str) -> None:
    rng = np.random.default_rng(3)
    assert TASKS[task](50, rng) != TASKS[task](50, rng)


@pytest.mark.parametrize("task", TASKS)
def test_counts_and_texts(task: str, train: dict[str, list[Example]]) -> None:
    assert len(train[task]) == SIZES[task][0]
    assert {len(texts) for texts, _ in train[task]} == {1 if task == "sentiment" else 2}
    assert TASKS[task](0, np.random.default_rng(0)) == []


@pytest.mark.parametrize("task", TASKS)
def test_sentences_look_like_text(task: str, train: dict[str, list[Example]]) -> None:
    end = "?" if task == "paraphrase" else "."
    for text in sentences(train[task]):
        assert re.fullmatch(rf"[A-Z][a-z]*(,? [a-z]+)+\{end}", text), text
        assert not re.search(r"\b(a [aeiou]|an [^aeiou])", text, re.IGNORECASE), text


def test_sentiment_proportions(train: dict[str, list[Example]]) -> None:
    labels = Counter(label for _, label in sentiment(20000, np.random.default_rng(2)))
    assert sorted(labels) == [0, 1, 2, 3, 4]
    shares = [labels[label] / 20000 for label in sorted(labels)]
    assert shares == pytest.approx([0.13, 0.26, 0.19, 0.27, 0.15], abs=0.025)


def test_paraphrase_proportions(train: dict[str, list[Example]]) -> None:
    labels = [label for _, label in train["paraphrase"]]
    assert set(labels) == {0.0, 1.0}
    assert np.mean(labels) == pytest.approx(0.37, abs=0.01)


def test_similarity_covers_the_scale(train: dict[str, list[Example]]) -> None:
    labels = np.array([label for _, label in train["similarity"]])
    assert labels.min() >= 0
    assert labels.max() <= 5
    assert np.array_equal(labels, labels.round(1))
    assert (np.histogram(labels, 5, (0, 5))[0] / len(labels)).min() > 0.1


# Questions are many and short, so that some come up again: pairs of them must not.
@pytest.mark.parametrize(
    ("task", "most"), [("sentiment", 0.02), ("paraphrase", 0.08), ("similarity", 0.02)]
)
def test_dev_is_not_in_train(
    task: str, most: float, train: dict[str, list[Example]], dev: dict[str, list[Example]]
) -> None:
    known = set(sentences(train[task]))
    assert np.mean([text in known for text in sentences(dev[task])]) < most
    if task != "sentiment":
        pairs = {texts for texts, _ in train[task]}
        assert np.mean([texts in pairs for texts, _ in dev[task]]) < 0.001


@pytest.mark.parametrize("task", TASKS)
def test_texts_vary(task: str, dev: dict[str, list[Example]]) -> None:
    texts = sentences(dev[task])
    assert len(set(texts)) / len(texts) > 0.9
    openings = Counter(" ".join(text.split()[:2]) for text in texts)
    assert len(openings) >= 5


def test_a_word_is_in_one_concept() -> None:
    for group in CONCEPTS.values():
        words = [word for concept in group for word in concept]
        assert len(words) == len(set(words))


def test_tasks_share_words(train: dict[str, list[Example]]) -> None:
    words = {
        task: set(re.findall(r"[a-z]+", " ".join(sentences(train[task])).lower())) for task in TASKS
    }
    judgements = {word for concept in JUDGEMENTS for word in concept}
    assert judgements <= words["sentiment"] & words["paraphrase"]
    things = {word for group in SCENE.values() for concept in group for word in concept}
    assert things <= words["similarity"] & words["paraphrase"]


def test_sentiment_has_noise(train: dict[str, list[Example]]) -> None:
    """One judgement alone decides what is meant, yet readers do not all agree."""
    best = 0
    seen = 0
    levels = {word: level for level, words in enumerate(JUDGEMENTS) for word in words}
    for (text,), label in train["sentiment"]:
        found = [levels[word] for word in re.findall(r"[a-z]+", text) if word in levels]
        if len(found) == 1:
            seen += 1
            best += found[0] == label
    assert seen > 300
    assert 0.75 < best / seen < 0.88


def _concepts(text: str) -> tuple[Counter[tuple[str, ...]], str]:
    """The concepts of people, actions and things in a text, and how it begins."""
    owner = {word: concept for group in SCENE.values() for concept in group for word in concept}
    words = re.findall(r"[a-z]+", text.lower())
    return Counter(owner[word] for word in words if word in owner), words[0] + words[1]


def test_paraphrase_has_noise(train: dict[str, list[Example]]) -> None:
    """Questions with the same opening and concepts mostly count as the same, but not always."""
    labels: dict[bool, list[float]] = defaultdict(list)
    for (first, second), label in train["paraphrase"]:
        if "about" in first or "about" in second:
            continue
        labels[_concepts(first) == _concepts(second)].append(label)
    assert 0.92 < np.mean(labels[True]) < 0.98


def test_similarity_has_noise(train: dict[str, list[Example]]) -> None:
    scores = defaultdict(list)
    for (first, second), label in train["similarity"]:
        common = (_concepts(first)[0] & _concepts(second)[0]).total()
        scores[common].append(label)
    assert sorted(scores) == [0, 1, 2, 3]
    assert all(np.std(group) > 0.3 for group in scores.values())
    means = [np.mean(scores[common]) for common in sorted(scores)]
    assert means == sorted(means)
    assert means[3] - means[0] > 3


@pytest.mark.parametrize("task", TASKS)
def test_every_word_is_one_token(
    task: str, train: dict[str, list[Example]], tokenizer: BertTokenizer
) -> None:
    for text in sentences(train[task])[:1500]:
        assert tokenizer.tokenize(text) == re.findall(r"\w+|[^\w ]", text.lower())


def test_lexicon_is_in_the_vocabulary(vocabulary: list[str]) -> None:
    words = {word for group in CONCEPTS.values() for concept in group for word in concept}
    assert words <= set(vocabulary)


def test_vocabulary_is_in_berts_order(vocabulary: list[str]) -> None:
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(vocabulary) == len(set(vocabulary))
    assert all(token == token.strip().lower() and token for token in vocabulary[5:])


@pytest.mark.parametrize(
    "text", ["Zürich, Łódź & São Paulo", "It's a 7/10 — “overrated”…", "x²+y² = €3,000€", "Straße"]
)
def test_any_latin_text_can_be_spelled(text: str, tokenizer: BertTokenizer) -> None:
    tokens = tokenizer.tokenize(text)
    assert tokens
    assert "[UNK]" not in tokens
