"""Made-up text as a source: sizes, seeds and splits; what the text says is the demo's business."""

import pytest

from mtl_bert.data.sources.synthetic import Synthetic
from mtl_bert.data.table import DataError
from tests.factories import assert_tells, make_task


def make(count, rng):
    return [((f"text {rng.integers(10**9)}",), float(rng.integers(2))) for _ in range(count)]


def read(split="train", *, name="toy", **settings):
    sources = {"made": {"make": make, "train": 2000, "dev": 40}}
    settings = {"scale": 0.1, **settings}
    return Synthetic("made", **settings).read(make_task(name, sources=sources), split)


@pytest.mark.parametrize(("scale", "size"), [(1, 2000), (0.1, 200), (0.0123, 25), (1e-9, 1)])
def test_the_training_set_is_scaled_and_the_dev_set_is_not(scale, size):
    assert len(read("train", scale=scale)) == size
    assert len(read("dev", scale=scale)) == 40
    assert len(read("test", scale=scale)) == 40


def test_the_same_settings_make_the_same_text():
    first, second = read(), read()
    assert first.texts == second.texts
    assert first.labels.tolist() == second.labels.tolist()
    assert first.ids == second.ids
    assert len(set(first.ids)) == len(first)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"name": "other"}, {"split": "dev"}, {"split": "test"}]
)
def test_seeds_tasks_and_splits_differ(other):
    assert not set(read().texts) & set(read(**other).texts)


def test_the_test_split_is_unlabelled():
    assert read("test").labels is None
    assert read("dev").labels is not None


def test_it_says_that_it_is_synthetic():
    assert Synthetic("made", 1).synthetic
    assert "made" in read().origin


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_scale_has_to_be_positive(scale):
    with pytest.raises(DataError) as raised:
        Synthetic("made", scale)
    assert_tells(raised.value, "data.scale", str(scale))
