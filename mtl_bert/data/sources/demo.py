"""The built-in demo corpus: English made up from a small lexicon, for three tasks.

Each function draws examples of one task from a generator of random numbers, so that splits are
independent draws of one distribution. Labels carry noise, as people's do: no model can be right
about all of them. The tasks share their words, agree on which of them mean the same, and disagree
on what matters: how strong praise is matters to sentiment but not to paraphrase, the quality of
things to similarity but not to paraphrase.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

Example = tuple[tuple[str, ...], float]
Concept = tuple[str, ...]
"""Wordings that mean the same: a model that learns them from one task can use them in another."""
Meaning = Mapping[str, Concept]
Pools = Mapping[str, Sequence[Concept]]


def _concepts(text: str) -> Sequence[Concept]:
    return tuple(tuple(entry.strip().split("/")) for entry in text.split(","))


# Each word is a single token in mtl_bert/model/tiny/vocab.txt: a new word needs a line there.
PEOPLE: Final = _concepts(
    "man/guy, woman/lady, boy/lad, child/kid, doctor/physician, teacher/instructor, "
    "soldier/trooper, lawyer/attorney, policeman/officer, singer/vocalist, writer/author, "
    "cook/chef, thief/burglar, student/pupil, sailor/seaman, pilot/aviator"
)
ACTIONS: Final = _concepts(
    "buy/purchase/acquire, repair/fix/mend, sell, paint, clean/wash, steal, hide/conceal, "
    "find/locate, borrow, rent/lease, build/construct, photograph, carry/transport, "
    "destroy/wreck/demolish, choose/select, inspect/examine"
)
THINGS: Final = _concepts(
    "car/automobile, bicycle/bike, boat/vessel, truck/lorry, sofa/couch, table/desk, "
    "lamp/lantern, jacket/coat, statue/sculpture, violin/fiddle, phone/telephone, "
    "house/cottage, garage/shed, carpet/rug, bag/sack, box/crate"
)
QUALITIES: Final = _concepts(
    "old/ancient, new/modern, small/little, large/big, red, blue, green, yellow, heavy, wooden"
)
GENRES: Final = _concepts(
    "film/movie/picture, comedy/farce, thriller/chiller, musical/operetta, drama/melodrama, "
    "documentary, western, cartoon/animation"
)
ASPECTS: Final = _concepts(
    "plot/story/storyline, acting, script/dialogue, music/score/soundtrack, ending/finale, "
    "direction, photography, humour/wit, pace/rhythm, cast"
)
# What reviewers say, from the worst to the best; the middle says neither. Paraphrase looks only at
# the side of the middle (praise or blame), sentiment also at how far from it.
JUDGEMENTS: Final = _concepts(
    "awful/terrible/horrible/dreadful/atrocious, weak/dull/slow/clumsy/boring, "
    "ordinary/average/familiar/typical/conventional, good/nice/pleasant/charming/amusing, "
    "brilliant/superb/magnificent/stunning/wonderful"
)

USUAL_SHARE: Final = 0.4
SCENE: Final[Pools] = {"person": PEOPLE, "action": ACTIONS, "thing": THINGS}


# From a meaning, which is a concept for each slot, to a sentence that says it.


def _draw_all(
    draw: Callable[[random.Random], Example], count: int, rng: np.random.Generator
) -> list[Example]:
    source = random.Random(int(rng.integers(2**63)))
    return [draw(source) for _ in range(count)]


def _indefinite(words: str) -> str:
    """Put the fitting indefinite article before some words."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _sentence(text: str) -> str:
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

# As in SST-5, from very negative to very positive.
CLASS_SHARES: Final = (0.13, 0.26, 0.19, 0.27, 0.15)
# The share of readers who see the next class.
CLASS_NOISE: Final = 0.2

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
REVIEW: Final[Pools] = {"genre": GENRES, "person": PEOPLE, "aspect": ASPECTS}


def sentiment(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` review sentences with their class, from 0 (very negative) to 4."""
    return _draw_all(_review, count, rng)


def _review(source: random.Random) -> Example:
    (meant,) = source.choices(range(len(CLASS_SHARES)), CLASS_SHARES)
    while True:
        templates = source.choice((ONE, ONE, ONE, BOTH, BUT))
        first, second = source.randrange(5), source.randrange(5)
        weight = SECOND_WEIGHT[templates]
        if not _is_natural(templates, first, second):
            continue
        if round((1 - weight) * first + weight * second) == meant:
            break
    text = _write(source.choice(templates), first, second, source)
    if source.random() < CLASS_NOISE:
        meant = min(4, max(0, meant + source.choice((-1, 1))))
    return (text,), float(meant)


def _is_natural(templates: tuple[str, ...], first: int, second: int) -> bool:
    """Whether one says it so: "but" wants a contrast, "and" none."""
    if templates is BUT:
        return abs(first - second) >= 2
    return templates is ONE or abs(first - second) <= 1


def _write(template: str, first: int, second: int, source: random.Random) -> str:
    words = _word_slots(_draw_meaning(REVIEW, source), source)
    words["person"] = _indefinite(words["person"])
    words["first"] = source.choice(JUDGEMENTS[first])
    words["second"] = source.choice([word for word in JUDGEMENTS[second] if word != words["first"]])
    words["a_first"] = _indefinite(words["first"])
    return _sentence(template.format_map(words))


# Questions: two ask the same if they have the same intent and agree in every slot. How strongly
# something is praised does not matter, nor do the qualities of things. Questions that differ mostly
# keep the intent and differ in every slot, some in one or two: were the intent enough to tell most
# pairs apart, a small encoder would stop there and never compare the words.

POSITIVE_SHARE: Final = 0.37
# The share of labels that are wrong.
LABEL_NOISE: Final = 0.06
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
VERDICTS: Final = (JUDGEMENTS[0] + JUDGEMENTS[1], JUDGEMENTS[2], JUDGEMENTS[3] + JUDGEMENTS[4])
OPINION: Final[Pools] = {"genre": GENRES, "person": PEOPLE, "verdict": VERDICTS}
# Opinions twice: they have more words to learn, and sentiment needs these.
QUESTIONS: Final[Sequence[tuple[Sequence[str], Pools]]] = (
    *((templates, SCENE) for templates in INTENTS),
    (OPINIONS, OPINION),
    (OPINIONS, OPINION),
)

Question = tuple[int, Meaning]


def paraphrase(count: int, rng: np.random.Generator) -> list[Example]:
    """Draw `count` pairs of questions; 1 means that both ask the same."""
    return _draw_all(_two_questions, count, rng)


def _two_questions(source: random.Random) -> Example:
    family = source.randrange(len(QUESTIONS))
    first = family, _draw_meaning(QUESTIONS[family][1], source)
    same = source.random() < (POSITIVE_SHARE - LABEL_NOISE) / (1 - 2 * LABEL_NOISE)
    second = first if same else _different(first, source)
    label = same != (source.random() < LABEL_NOISE)
    return (_ask(first, source), _ask(second, source)), float(label)


def _different(question: Question, source: random.Random) -> Question:
    family, meaning = question
    pools = QUESTIONS[family][1]
    if pools is SCENE and source.random() < OTHER_INTENT_SHARE:
        return (family + source.randrange(1, len(INTENTS))) % len(INTENTS), meaning
    changed = dict(meaning)
    near = source.random() < NEAR_SHARE
    for slot in source.sample(sorted(pools), source.choice((1, 2)) if near else len(pools)):
        changed[slot] = _another(meaning[slot], pools[slot], source)
    return family, changed


def _ask(question: Question, source: random.Random) -> str:
    family, meaning = question
    words = _word_slots(meaning, source)
    if "thing" in words:
        words["thing"] = _indefinite(_qualify(words["thing"], source))
    else:
        words["genre"] = _qualify(words["genre"], source)
    words["when"] = source.choice(WHENS)
    words["person"] = _indefinite(words["person"])
    return _sentence(source.choice(QUESTIONS[family][0]).format_map(words))


def _qualify(noun: str, source: random.Random) -> str:
    if source.random() >= QUALITY_SHARE:
        return noun
    return f"{source.choice(source.choice(QUALITIES))} {noun}"


# Captions: each slot that agrees adds its weight, so one difference costs part of the score, where
# it makes a question another one. The quality of things counts here.

WEIGHTS: Final = {"person": 1.5, "action": 1.5, "thing": 1.5, "quality": 0.5}
# The standard deviation of what readers' scores add: with it, Pearson's r ends near 0.95.
SCORE_NOISE: Final = 0.6

CAPTIONS: Final = (
    "police saw {person} {action} {thing}.",
    "we see {person} {action} {thing}.",
    "neighbours watched {person} {action} {thing}.",
    "here we see {person} {action} {thing}.",
    "reporters watched {person} {action} {thing}.",
)
CAPTION: Final[Pools] = {**SCENE, "quality": QUALITIES}


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
    agreement = sum(weight for slot, weight in WEIGHTS.items() if first[slot] == second[slot])
    score = round(min(5.0, max(0.0, agreement + source.gauss(0, SCORE_NOISE))), 1)
    return (_describe(first, source), _describe(second, source)), score


def _describe(meaning: Meaning, source: random.Random) -> str:
    words = _word_slots(meaning, source)
    words["person"] = _indefinite(words["person"])
    words["thing"] = _indefinite(f"{words['quality']} {words['thing']}")
    return _sentence(source.choice(CAPTIONS).format_map(words))
