"""Pairs of questions: do both ask the same?

Both questions must have the same intent and agree in every slot. How strongly something is praised
does not matter, nor do the qualities of things. Questions that differ mostly keep the intent and
differ in every slot, some in one or two: were the intent enough to tell most pairs apart, a small
encoder would stop there and never compare the words.
"""

import random
from collections.abc import Sequence
from typing import Final

import numpy as np

from mtl_bert.data.sources.demo.lexicon import GENRES, JUDGEMENTS, PEOPLE, QUALITIES, Concept
from mtl_bert.data.sources.demo.wording import (
    SCENE,
    Example,
    Meaning,
    Pools,
    another,
    draw_meaning,
    indefinite,
    sentence,
    word_slots,
)

POSITIVE_SHARE: Final = 0.37
# The share of labels that are wrong.
NOISE: Final = 0.06
QUALITY_SHARE: Final = 0.3
# Of the different pairs, those that differ in few slots, or in the intent alone.
NEAR_SHARE: Final = 0.15
OTHER_INTENT_SHARE: Final = 0.05

INTENTS: Final[Sequence[Sequence[str]]] = (
    (
        "how can {person} {action} {thing}{when}?",
        "how does {person} manage to {action} {thing}{when}?",
    ),
    (
        "why would {person} {action} {thing}{when}?",
        "what makes {person} {action} {thing}{when}?",
    ),
    (
        "what does it cost {person} to {action} {thing}{when}?",
        "how much must {person} pay to {action} {thing}{when}?",
    ),
    (
        "can {person} legally {action} {thing}{when}?",
        "is {person} allowed to {action} {thing}{when}?",
    ),
)
OPINIONS: Final = (
    "why do critics call the {genre} about {person} {verdict}{when}?",
    "what makes the {genre} about {person} so {verdict}{when}?",
    "why is the {genre} about {person} considered {verdict}{when}?",
    "why do people find the {genre} about {person} {verdict}{when}?",
)
# Words that ask nothing.
WHENS: Final = (
    *[""] * 4,
    *(" now", " today", " nowadays", " currently", " lately", " here", " again", " anyway"),
)
VERDICTS: Final[Sequence[Concept]] = (
    JUDGEMENTS[0] + JUDGEMENTS[1],
    JUDGEMENTS[2],
    JUDGEMENTS[3] + JUDGEMENTS[4],
)
OPINION: Final[Pools] = {
    "genre": GENRES,
    "person": PEOPLE,
    "verdict": VERDICTS,
}
# Opinions twice: they have more words to learn, and sentiment needs these.
_QUESTIONS: Final[Sequence[tuple[Sequence[str], Pools]]] = (
    *((templates, SCENE) for templates in INTENTS),
    (OPINIONS, OPINION),
    (OPINIONS, OPINION),
)

Question = tuple[int, Meaning]


def paraphrase(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` pairs of questions; 1 means that both ask the same."""
    source = random.Random(int(rng.integers(2**63)))
    return [_pair(source) for _ in range(count)]


def _pair(source: random.Random) -> Example:
    first = _draw(source)
    same = source.random() < (POSITIVE_SHARE - NOISE) / (1 - 2 * NOISE)
    second = first if same else _different(first, source)
    label = same != (source.random() < NOISE)
    return (_ask(first, source), _ask(second, source)), float(label)


def _draw(source: random.Random) -> Question:
    family = source.randrange(len(_QUESTIONS))
    return family, draw_meaning(_QUESTIONS[family][1], source)


def _different(question: Question, source: random.Random) -> Question:
    family, meaning = question
    pools = _QUESTIONS[family][1]
    if pools is SCENE and source.random() < OTHER_INTENT_SHARE:
        return (family + source.randrange(1, len(INTENTS))) % len(INTENTS), meaning
    changed = dict(meaning)
    near = source.random() < NEAR_SHARE
    for slot in source.sample(sorted(pools), source.choice((1, 2)) if near else len(pools)):
        changed[slot] = another(meaning[slot], pools[slot], source)
    return family, changed


def _ask(question: Question, source: random.Random) -> str:
    family, meaning = question
    words = word_slots(meaning, source)
    if "thing" in words:
        words["thing"] = indefinite(_qualify(words["thing"], source))
    else:
        words["genre"] = _qualify(words["genre"], source)
    words["when"] = source.choice(WHENS)
    words["person"] = indefinite(words["person"])
    return sentence(source.choice(_QUESTIONS[family][0]).format_map(words))


def _qualify(noun: str, source: random.Random) -> str:
    if source.random() >= QUALITY_SHARE:
        return noun
    return f"{source.choice(source.choice(QUALITIES))} {noun}"
