"""Sentences from film reviews, from 0 (very negative) to 4 (very positive).

Other than for a paraphrase it matters how strongly something is praised or blamed, and what the
film is about does not.
"""

import random
from typing import Final

import numpy as np

from mtl_bert.data.sources.demo.lexicon import ASPECTS, GENRES, JUDGEMENTS, PEOPLE
from mtl_bert.data.sources.demo.wording import (
    Example,
    draw_meaning,
    indefinite,
    sentence,
    word_slots,
)

# As in SST-5, from very negative to very positive.
SHARES: Final = (0.13, 0.26, 0.19, 0.27, 0.15)
# The share of readers who see the next class.
NOISE: Final = 0.2

# One judgement, or two of which the second one, after "but", weighs more.
ONE: Final = (
    "the {genre} about {person} is {first}.",
    "this is {a_first} {genre} about {person}.",
    "the {genre} about {person} has {a_first} {aspect}.",
    "the {aspect} of the {genre} about {person} is {first}.",
)
BOTH: Final = (
    "the {aspect} is {first} and the {genre} is {second}.",
    "this {genre} about {person} is {first} and {second}.",
    "{a_first} and {second} {genre} about {person}.",
)
BUT: Final = (
    "the {aspect} is {first}, but the {genre} is {second}.",
    "although the {aspect} is {first}, this {genre} is {second}.",
)
SECOND_WEIGHT: Final = {ONE: 0.0, BOTH: 0.5, BUT: 0.75}
POOLS: Final = {"genre": GENRES, "person": PEOPLE, "aspect": ASPECTS}


def sentiment(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` review sentences with their class."""
    source = random.Random(int(rng.integers(2**63)))
    return [_review(source) for _ in range(count)]


def _review(source: random.Random) -> Example:
    (meant,) = source.choices(range(len(SHARES)), SHARES)
    while True:
        templates = source.choice((ONE, ONE, ONE, BOTH, BUT))
        first, second = source.randrange(5), source.randrange(5)
        weight = SECOND_WEIGHT[templates]
        if not _is_natural(templates, first, second):
            continue
        if round((1 - weight) * first + weight * second) == meant:
            break
    text = _write(source.choice(templates), first, second, source)
    return (text,), float(_annotate(meant, source))


def _is_natural(templates: tuple[str, ...], first: int, second: int) -> bool:
    """Whether one says it so: "but" wants a contrast, "and" none."""
    if templates is BUT:
        return abs(first - second) >= 2
    return templates is ONE or abs(first - second) <= 1


def _annotate(meant: int, source: random.Random) -> int:
    """Give the class that one reader would: sometimes the one beside the class that is meant."""
    if source.random() >= NOISE:
        return meant
    return min(4, max(0, meant + source.choice((-1, 1))))


def _write(template: str, first: int, second: int, source: random.Random) -> str:
    meaning = draw_meaning(POOLS, source)
    words = word_slots(meaning, source)
    words["person"] = indefinite(words["person"])
    words["first"] = source.choice(JUDGEMENTS[first])
    words["second"] = source.choice([word for word in JUDGEMENTS[second] if word != words["first"]])
    words["a_first"] = indefinite(words["first"])
    return sentence(template.format_map(words))
