"""What a run has used of its training sets, against counting by hand."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.sampling import ARRP, Epoch
from mtl_bert.training.callbacks.recorder import Usage


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.integers(1, 4))
def test_it_counts_what_steps_show(first: int, second: int, seed: int, epochs: int) -> None:
    sizes = {"a": first, "b": second}
    sampler = ARRP(batch_size=4, B=7, lambda_=0.5)
    asked: list[int] = []

    def plan(epoch: int) -> Epoch:
        asked.append(epoch)
        return sampler(sizes, epoch, 9, seed)

    shown: Counter[tuple[str, int]] = Counter()
    used = Usage(sizes)
    for epoch in range(1, epochs + 1):
        for step in sampler(sizes, epoch, 9, seed).steps:
            shown.update((task, int(row)) for task, rows in step.rows.items() for row in rows)
        if epoch != 2:  # asked later, it catches up
            used.until(epoch, plan)
    used.until(epochs, plan)
    assert asked == list(range(1, epochs + 1))
    for task, found in used.read().items():
        counts = [n for (name, _), n in shown.items() if name == task]
        assert (found.examples, found.unique) == (sum(counts), len(counts))
        assert found.fraction == len(counts) / sizes[task]
