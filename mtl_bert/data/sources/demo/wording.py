"""From a meaning, which is a concept for each slot, to a sentence that says it."""

import random
from collections.abc import Mapping, Sequence
from typing import Final

from mtl_bert.data.sources.demo.lexicon import ACTIONS, PEOPLE, THINGS, Concept

Example = tuple[tuple[str, ...], float]
Meaning = Mapping[str, Concept]
Pools = Mapping[str, Sequence[Concept]]

USUAL_SHARE: Final = 0.4
SCENE: Final[Pools] = {"person": PEOPLE, "action": ACTIONS, "thing": THINGS}


def indefinite(words: str) -> str:
    """Put the fitting indefinite article before `words`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def sentence(text: str) -> str:
    """Give `text` a capital letter at its start."""
    return text[0].upper() + text[1:]


def draw_meaning(pools: Pools, source: random.Random) -> dict[str, Concept]:
    """Draw a concept for each slot."""
    return {slot: source.choice(pool) for slot, pool in pools.items()}


def another(concept: Concept, pool: Sequence[Concept], source: random.Random) -> Concept:
    """Draw a concept of `pool` that is not `concept`."""
    while (other := source.choice(pool)) == concept:
        pass
    return other


def word_slots(meaning: Meaning, source: random.Random) -> dict[str, str]:
    """Choose a wording for each slot; as in any language, one of them is the usual one."""
    return {
        slot: concept[0] if source.random() < USUAL_SHARE else source.choice(concept)
        for slot, concept in meaning.items()
    }
