"""The built-in demo corpus: English made up from a small lexicon, for three tasks.

Each function draws examples of one task from a generator of random numbers, so that splits are
independent draws of one distribution. Labels carry noise, as people's do: no model can be right
about all of them. The tasks share their words (see ``lexicon``), agree on which of them mean the
same, and disagree on what matters: how strong praise is matters to sentiment but not to paraphrase,
the quality of things to similarity but not to paraphrase.
"""

from mtl_bert.data.sources.demo.captions import similarity
from mtl_bert.data.sources.demo.questions import paraphrase
from mtl_bert.data.sources.demo.reviews import sentiment
from mtl_bert.data.sources.demo.wording import Example

__all__ = ["Example", "paraphrase", "sentiment", "similarity"]
