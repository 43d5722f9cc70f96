"""The built-in demo corpus: English made up from a small lexicon (``demo.toml``), for three tasks.

Each function draws examples of one task from a generator of random numbers, so that splits are
independent draws of one distribution. Labels carry noise, as people's do: no model can be right
about all of them. The tasks share their words, agree on which of them mean the same, and disagree
on what matters: how strong praise is matters to sentiment but not to paraphrase, the quality of
things to similarity but not to paraphrase.
"""

import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np

Example = tuple[tuple[str, ...], float]
Concept = tuple[str, ...]
"""Wordings that mean the same: a model that learns them from one task can use them in another."""
Meaning = Mapping[str, Concept]
"""What a sentence says: a concept for each slot."""
Pools = Mapping[str, Sequence[Concept]]

_TEXTS: Final[dict[str, Any]] = tomllib.loads(
    (files("mtl_bert.data.sources") / "demo.toml").read_text("utf-8")
)
REVIEWS, QUESTIONS, CAPTIONS = _TEXTS["reviews"], _TEXTS["questions"], _TEXTS["captions"]
CONCEPTS: Final[Pools] = {
    slot: tuple(tuple(entry.strip().split("/")) for entry in text.split(","))
    for slot, text in _TEXTS["concepts"].items()
}
JUDGEMENTS: Final = CONCEPTS["judgement"]
USUAL_SHARE: Final = 0.4


def _pools(*slots: str) -> Pools:
    return {slot: CONCEPTS[slot] for slot in slots}


SCENE: Final = _pools("person", "action", "thing")


def _draw_all(
    draw: Callable[[random.Random], Example], count: int, rng: np.random.Generator
) -> list[Example]:
    source = random.Random(int(rng.integers(2**63)))
    return [draw(source) for _ in range(count)]


def _indefinite(words: str) -> str:
    """Put the fitting indefinite article before some words."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _sentence(template: str, words: Mapping[str, str]) -> str:
    text = template.format_map(words)
    return text[0].upper() + text[1:]


def _draw_meaning(pools: Pools, source: random.Random) -> dict[str, Concept]:
    return {slot: source.choice(pool) for slot, pool in pools.items()}


def _another(concept: Concept, pool: Sequence[Concept], source: random.Random) -> Concept:
    """Draw a concept of a pool that is not this one."""
    while (other := source.choice(pool)) == concept:
        pass
    return other


def _word_slots(meaning: Meaning, source: random.Random) -> dict[str, str]:
    """Choose a wording for each slot; as in any language, one of them is the usual one."""
    return {
        slot: concept[0] if source.random() < USUAL_SHARE else source.choice(concept)
        for slot, concept in meaning.items()
    }


# Reviews: it matters how strongly something is praised or blamed, and not what the film is about.


def sentiment(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` review sentences with their class, from 0 (very negative) to 4."""
    return _draw_all(_review, count, rng)


def _review(source: random.Random) -> Example:
    (meant,) = source.choices(range(5), REVIEWS["class_shares"])
    while True:
        form = source.choice(("one", "one", "one", "both", "but"))
        first, second = source.randrange(5), source.randrange(5)
        weight = REVIEWS["second_weight"][form]
        # One says it so: "but" wants a contrast, "and" none.
        natural = {"one": True, "both": abs(first - second) <= 1, "but": abs(first - second) >= 2}
        if natural[form] and round((1 - weight) * first + weight * second) == meant:
            break
    template = source.choice(REVIEWS[form])
    words = _word_slots(_draw_meaning(_pools("genre", "person", "aspect"), source), source)
    words["person"] = _indefinite(words["person"])
    words["first"] = source.choice(JUDGEMENTS[first])
    words["second"] = source.choice([word for word in JUDGEMENTS[second] if word != words["first"]])
    words["a_first"] = _indefinite(words["first"])
    text = _sentence(template, words)
    if source.random() < REVIEWS["class_noise"]:
        meant = min(4, max(0, meant + source.choice((-1, 1))))
    return (text,), float(meant)


# Questions: two ask the same if they have the same intent and agree in every slot. How strongly
# something is praised does not matter, nor do the qualities of things. Questions that differ mostly
# keep the intent and differ in every slot, some in one or two: were the intent enough to tell most
# pairs apart, a small encoder would stop there and never compare the words.

VERDICTS: Final = (JUDGEMENTS[0] + JUDGEMENTS[1], JUDGEMENTS[2], JUDGEMENTS[3] + JUDGEMENTS[4])
OPINION: Final = (QUESTIONS["opinions"], {**_pools("genre", "person"), "verdict": VERDICTS})
FAMILIES: Final[Sequence[tuple[Sequence[str], Pools]]] = (
    *((templates, SCENE) for templates in QUESTIONS["intents"]),
    OPINION,
    OPINION,  # twice: opinions have more words to learn, and sentiment needs these
)


def paraphrase(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` pairs of questions; 1 means that both ask the same."""
    return _draw_all(_two_questions, count, rng)


def _two_questions(source: random.Random) -> Example:
    family, noise = source.randrange(len(FAMILIES)), QUESTIONS["label_noise"]
    first: tuple[int, Meaning] = family, _draw_meaning(FAMILIES[family][1], source)
    same = source.random() < (QUESTIONS["positive_share"] - noise) / (1 - 2 * noise)
    second = first if same else _different(*first, source)
    label = same != (source.random() < noise)
    return (_ask(*first, source), _ask(*second, source)), float(label)


def _different(family: int, meaning: Meaning, source: random.Random) -> tuple[int, Meaning]:
    pools = FAMILIES[family][1]
    if pools is SCENE and source.random() < QUESTIONS["other_intent_share"]:
        intents = len(QUESTIONS["intents"])
        return (family + source.randrange(1, intents)) % intents, meaning
    changed = dict(meaning)
    near = source.random() < QUESTIONS["near_share"]
    for slot in source.sample(sorted(pools), source.choice((1, 2)) if near else len(pools)):
        changed[slot] = _another(meaning[slot], pools[slot], source)
    return family, changed


def _ask(family: int, meaning: Meaning, source: random.Random) -> str:
    words = _word_slots(meaning, source)
    if "thing" in words:
        words["thing"] = _indefinite(_qualify(words["thing"], source))
    else:
        words["genre"] = _qualify(words["genre"], source)
    words["when"] = source.choice(QUESTIONS["whens"])
    words["person"] = _indefinite(words["person"])
    return _sentence(source.choice(FAMILIES[family][0]), words)


def _qualify(noun: str, source: random.Random) -> str:
    if source.random() >= QUESTIONS["quality_share"]:
        return noun
    return f"{source.choice(source.choice(CONCEPTS['quality']))} {noun}"


# Captions: each slot that agrees adds its weight, so one difference costs part of the score, where
# it makes a question another one. The quality of things counts here.

CAPTION: Final = _pools(*CAPTIONS["weights"])


def similarity(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` pairs of captions with how much they have in common, from 0 to 5."""
    return _draw_all(_two_captions, count, rng)


def _two_captions(source: random.Random) -> Example:
    first = _draw_meaning(CAPTION, source)
    # A share of its own for each pair spreads the scores over the whole scale.
    kept_share = source.random()
    second = {
        slot: concept if source.random() < kept_share else _another(concept, CAPTION[slot], source)
        for slot, concept in first.items()
    }
    weights = CAPTIONS["weights"].items()
    agreement = sum(weight for slot, weight in weights if first[slot] == second[slot])
    score = round(min(5.0, max(0.0, agreement + source.gauss(0, CAPTIONS["score_noise"]))), 1)
    return (_describe(first, source), _describe(second, source)), score


def _describe(meaning: Meaning, source: random.Random) -> str:
    words = _word_slots(meaning, source)
    words["person"] = _indefinite(words["person"])
    words["thing"] = _indefinite(f"{words['quality']} {words['thing']}")
    return _sentence(source.choice(CAPTIONS["templates"]), words)
