"""What numbers are about: which data, whole or in part, made up or not, seen before or not.

Every title of a report ends with these words, so that no number is taken for more than it is.
"""

from dataclasses import dataclass

from mtl_bert.analysis import paper
from mtl_bert.runs.results import Results


@dataclass(frozen=True)
class Subject:
    """The data, encoder and batches that numbers come from.

    Attributes:
        data: the data's name.
        synthetic: made-up text.
        sizes: training examples of each task.
        encoder: the encoder's name.
        seen: tasks whose data the encoder was trained on before -> those data sets.
        dev: dev examples of each task.
        bucket: steps within which examples of like length shared a batch; None is at random.
        ratios: of the largest training set to the others, where numbers are about several.
    """

    data: str
    synthetic: bool
    sizes: tuple[tuple[str, int], ...]
    encoder: str
    seen: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dev: tuple[tuple[str, int], ...] = ()
    bucket: int | None = None
    ratios: tuple[float, ...] = ()

    @property
    def other_sizes(self) -> tuple[str, ...]:
        """Training sets of another size than the paper's: ``n of N``, or ``n instead of N``."""
        sizes = dict(self.sizes)
        found = []
        for task, size in paper.SIZES.items():
            n = sizes.get(task)
            if n is None:
                found.append(f"{task} missing")
            elif n != size.train:
                word = "of" if n < size.train else "instead of"
                found.append(f"{task} {n:,} {word} {size.train:,}")
        return tuple(found)

    @property
    def partial_dev(self) -> tuple[str, ...]:
        """Dev sets that are smaller than the paper's: ``n of N``."""
        dev = dict(self.dev)
        return tuple(
            f"{task} {dev[task]:,} of {size.dev:,}"
            for task, size in paper.SIZES.items()
            if dev.get(task, size.dev) < size.dev
        )

    @property
    def other_tasks(self) -> tuple[str, ...]:
        """Tasks that the paper does not have."""
        return tuple(task for task, _ in self.sizes if task not in paper.SIZES)

    @property
    def like_the_paper(self) -> bool:
        """Whether the paper's numbers are of the same experiment: data, encoder, random batches."""
        same_data = not (self.synthetic or self.other_sizes or self.other_tasks or self.seen)
        same_dev = all(n == paper.SIZES[task].dev for task, n in self.dev if task in paper.SIZES)
        same_model = self.encoder == paper.ENCODER and self.bucket is None
        return same_data and same_dev and same_model

    @property
    def words(self) -> str:
        """What a title ends with."""
        words = [f"data={self.data}"]
        if self.synthetic:
            words[0] += ", SYNTHETIC (made-up text)"
        if self.other_sizes:
            partial = any(n < paper.SIZES[t].train for t, n in self.sizes if t in paper.SIZES)
            kind = "partial training sets" if partial else "other training sets"
            words.append(f"{kind}: {self._sizes_in_words}")
        if self.partial_dev:
            words.append(f"partial dev sets: {', '.join(self.partial_dev)}")
        if self.other_tasks:
            words.append(f"tasks that the paper does not have: {', '.join(self.other_tasks)}")
        if self.seen:
            seen = (f"{task} ({', '.join(sets)})" for task, sets in self.seen)
            words.append(f"CONTAMINATED: the encoder was trained before on {', '.join(seen)}")
        words.append(f"encoder {self.encoder}")
        if self.bucket is not None:
            words.append(f"batches of like length (group_by_length={self.bucket})")
        return "; ".join(words)

    @property
    def _sizes_in_words(self) -> str:
        if not self.ratios:
            return ", ".join(self.other_sizes)
        largest, size = max(self.sizes, key=lambda task: task[1])
        *first, last = (f"{ratio:g}" for ratio in self.ratios)
        return f"{largest} {size:,} ({', '.join(first)} and {last} times each of the others)"

    def title(self, heading: str) -> str:
        """A title, with what its numbers are about."""
        return f"{heading} [{self.words}]"

    @property
    def warning(self) -> str:
        """What a caption says where the paper's numbers are of another experiment; else nothing."""
        if self.like_the_paper:
            return ""
        if self.synthetic:
            return (
                "Ours is about made-up text: these numbers say that the program works, never what "
                "a method is worth. A difference to the paper is not an error of reproduction but "
                "another experiment."
            )
        return (
            "Data, encoder or batches are not the paper's: a difference to its numbers is not an "
            "error of reproduction but another experiment."
        )


def subject_of(results: Results) -> Subject:
    """What a run's numbers are about."""
    return Subject(
        data=results.data.name,
        synthetic=results.data.synthetic,
        sizes=tuple((task, sizes.get("train", 0)) for task, sizes in results.data.sizes.items()),
        encoder=results.encoder,
        seen=tuple((task, tuple(sets)) for task, sets in results.data.seen.items() if sets),
        dev=tuple((task, score.n) for task, score in results.tasks.items()),
        bucket=results.config.get("group_by_length"),
    )
