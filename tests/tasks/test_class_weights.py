"""Class weights: torch's own losses with weights, but for what they are divided by."""

import pytest
import torch
from torch import nn

from mtl_bert.tasks.class_weights import ClassWeighted

WEIGHTS = [0.5, 2.0, 3.0]


def test_cross_entropy_is_torchs_with_its_weights_times_their_mean() -> None:
    outputs, labels = torch.randn(20, 3), torch.randint(3, (20,))
    given = torch.tensor(WEIGHTS)
    theirs = nn.CrossEntropyLoss(weight=given)(outputs, labels) * given[labels].mean()
    torch.testing.assert_close(
        ClassWeighted(nn.CrossEntropyLoss(), 3, WEIGHTS)(outputs, labels), theirs
    )


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    outputs, labels = torch.randn(10), torch.randint(2, (10,)).float()
    loss = ClassWeighted(nn.BCEWithLogitsLoss(), 2, [0.2, 4.0])
    parts = 0.3 * loss(outputs[:3], labels[:3]) + 0.7 * loss(outputs[3:], labels[3:])
    torch.testing.assert_close(loss(outputs, labels), parts)
    by_hand = nn.functional.binary_cross_entropy_with_logits(
        outputs, labels, weight=torch.where(labels == 1, 4.0, 0.2)
    )
    torch.testing.assert_close(loss(outputs, labels), by_hand)


def test_balanced_weights_give_every_class_the_same_and_are_one_in_the_mean() -> None:
    loss = ClassWeighted(nn.CrossEntropyLoss(), 3, None)
    assert loss.weights.tolist() == [1.0, 1.0, 1.0]
    counts = torch.tensor([10, 30, 60])
    loss.balance(counts.tolist())
    total = loss.weights * counts
    torch.testing.assert_close(total, total[:1].expand(3))
    assert float(total.sum() / counts.sum()) == pytest.approx(1)


def test_given_weights_stay_and_a_class_without_examples_divides_nothing() -> None:
    given = ClassWeighted(nn.CrossEntropyLoss(), 3, WEIGHTS)
    given.balance([1, 1, 98])
    assert given.weights.tolist() == WEIGHTS
    loss = ClassWeighted(nn.CrossEntropyLoss(), 3, None)
    loss.balance([10, 0, 30])
    assert loss.weights.isfinite().all()


def test_what_cannot_be_weighed_is_refused() -> None:
    with pytest.raises(ValueError, match="class_weights: expected a number for each of 3 classes"):
        ClassWeighted(nn.CrossEntropyLoss(), 3, [1.0, 2.0])
    with pytest.raises(ValueError, match="class_weights: expected a loss with a reduction"):
        ClassWeighted(lambda outputs, labels: outputs.mean(), 3, None)
