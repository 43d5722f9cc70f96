"""Pairs of captions: how much do they have in common, from 0 to 5?

Each slot that agrees adds its weight: one difference costs part of the score, where it makes a
question another one. The quality of things counts here, other than for a paraphrase.
"""

import random
from collections.abc import Mapping
from typing import Final

import numpy as np

from mtl_bert.data.sources.demo.lexicon import QUALITIES
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

WEIGHTS: Final[Mapping[str, float]] = {
    "person": 1.5,
    "action": 1.5,
    "thing": 1.5,
    "quality": 0.5,
}
# The standard deviation of what readers' scores add: with it, Pearson's r ends near 0.95.
NOISE: Final = 0.6

CAPTIONS: Final = (
    "police saw {person} {action} {thing}.",
    "we see {person} {action} {thing}.",
    "neighbours watched {person} {action} {thing}.",
    "here we see {person} {action} {thing}.",
    "reporters watched {person} {action} {thing}.",
)
POOLS: Final[Pools] = {**SCENE, "quality": QUALITIES}


def similarity(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` pairs of captions with their similarity from 0 to 5."""
    source = random.Random(int(rng.integers(2**63)))
    return [_pair(source) for _ in range(count)]


def _pair(source: random.Random) -> Example:
    first = draw_meaning(POOLS, source)
    # A share of its own for each pair spreads the scores over the whole scale.
    kept_share = source.random()
    second = {
        slot: concept if source.random() < kept_share else another(concept, POOLS[slot], source)
        for slot, concept in first.items()
    }
    agreement = sum(weight for slot, weight in WEIGHTS.items() if first[slot] == second[slot])
    score = round(min(5.0, max(0.0, agreement + source.gauss(0, NOISE))), 1)
    return (_describe(first, source), _describe(second, source)), score


def _describe(meaning: Meaning, source: random.Random) -> str:
    words = word_slots(meaning, source)
    caption = source.choice(CAPTIONS).format(
        person=indefinite(words["person"]),
        action=words["action"],
        thing=indefinite(f"{words['quality']} {words['thing']}"),
    )
    return sentence(caption)
