"""The words of the demo corpus, grouped by meaning and used by all three tasks.

A concept is a tuple of wordings that mean the same. Whoever learns from one task which words go
together can use it in the others; that is what sharing an encoder can buy here. Words are single
tokens in `mtl_bert/model/tiny/vocab.txt`: a new word needs a line there (the tests say so).
"""

from collections.abc import Sequence
from typing import Final

Concept = tuple[str, ...]


def _concepts(text: str) -> Sequence[Concept]:
    return tuple(tuple(entry.strip().split("/")) for entry in text.split(","))


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
