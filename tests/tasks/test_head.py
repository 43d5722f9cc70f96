"""What a task predicts: labels, outputs and predictions."""

import math

import pytest
import torch
from torch import nn

from mtl_bert.tasks import Binary, MultiClass, Regression

FIVE = MultiClass(["a", "b", "c", "d", "e"])
LOSSES = [(FIVE, nn.CrossEntropyLoss()), (Binary(), nn.BCEWithLogitsLoss())]
LOSSES += [(Regression(0, 5), nn.MSELoss())]


@pytest.mark.parametrize(
    ("head", "labels"),
    [(FIVE, [0, 1, 4, 4.0]), (Binary(), [0, 1, 1.0]), (Regression(-1, 5), [-1, 0, 2.75, 5])],
)
def test_labels_accepted(head, labels):
    assert [head.check(label) for label in labels] == [None] * len(labels)


@pytest.mark.parametrize(
    ("head", "label", "words"),
    [
        (FIVE, 5, "label 5 is not one of 0 to 4"),
        (FIVE, -1, "label -1 is not one of 0 to 4"),
        (FIVE, 1.5, "label 1.5 is not one of 0 to 4"),
        (Binary(), 2, "label 2 is not 0 or 1"),
        (Binary(), 0.5, "label 0.5 is not 0 or 1"),
        (Binary(), -1, "label -1 is not 0 or 1"),
        (Regression(0, 5), 5.001, "label 5.001 is not between 0 and 5"),
        (Regression(0, 5), -0.1, "label -0.1 is not between 0 and 5"),
    ],
)
def test_labels_refused(head, label, words):
    assert head.check(label) == words


@pytest.mark.parametrize("head", [FIVE, Binary(), Regression(0, 5), Regression(0, math.inf)])
@pytest.mark.parametrize("label", [math.nan, math.inf, -math.inf])
def test_labels_are_finite(head, label):
    assert head.check(label)


@pytest.mark.parametrize(
    ("head", "outputs", "shape"),
    [(FIVE, 5, (3, 5)), (Binary(), 1, (3,)), (Regression(0, 5), 1, (3,))],
)
def test_the_linear_layer_and_the_loss_agree_on_shapes(head, outputs, shape):
    assert head.outputs == outputs
    assert head.shape(torch.zeros(3, head.outputs)).shape == shape


@pytest.mark.parametrize(("head", "loss"), LOSSES)
@pytest.mark.parametrize("B", [1, 3])
def test_the_usual_loss_takes_outputs_and_labels(head, loss, B):
    outputs = head.shape(torch.randn(B, head.outputs))
    labels = torch.ones(B).to(head.label_type)
    assert loss(outputs, labels).shape == ()  # a broadcast would warn, which is an error here


def test_predictions():
    logits = torch.tensor([[0.1, 0, 3, 0, 0], [-1, -2, -3, -4, -0.5]])
    assert FIVE.predict(logits).tolist() == [2, 4]
    assert Binary().predict(torch.tensor([-0.1, 0.1, 9.0])).tolist() == [0, 1, 1]
    values = torch.tensor([-0.5, 2.25, 7.0])
    assert torch.equal(Regression(0, 5).predict(values), values)


@pytest.mark.parametrize("head", [FIVE, Binary()])
def test_predicted_classes_are_labels(head):
    predictions = head.predict(head.shape(torch.randn(100, head.outputs)))
    assert predictions.shape == (100,)
    assert all(head.check(label) is None for label in predictions.tolist())


@pytest.mark.parametrize("names", [[], ["only"]])
def test_classes_are_at_least_two(names):
    with pytest.raises(ValueError, match="a list of different names"):
        MultiClass(names)


@pytest.mark.parametrize(("low", "high"), [(5, 0), (1, 1), (0, math.nan)])
def test_a_scale_goes_upwards(low, high):
    with pytest.raises(ValueError, match="low < high"):
        Regression(low, high)


@pytest.mark.parametrize("names", [[], ["one"], ["one", "two", "three"], ["same", "same"]])
def test_yes_and_no_have_a_name_each(names):
    with pytest.raises(ValueError, match=r"head\.names: expected"):
        Binary(names)


def test_no_two_classes_are_called_alike():
    with pytest.raises(ValueError, match="different names"):
        MultiClass(["good", "bad", "good"])


@pytest.mark.parametrize(
    "names", [[False, True], "ab", {0: "a", 1: "b"}, [None, "a"], [0.5, 1.5], [1, 2], 2]
)
@pytest.mark.parametrize("head", [Binary, MultiClass])
def test_names_are_texts_which_yaml_makes_of_yes_and_no_only_in_quotes(head, names):
    with pytest.raises(ValueError, match=r"head\.names: expected .*'no', 'yes'\]"):
        head(names)


@pytest.mark.parametrize(
    "ends", [(0, 5), (-2, 0.5), (-math.inf, 3), (7, math.inf), (-math.inf, math.inf)]
)
def test_examples_are_labels(ends):
    for head in (FIVE, Binary(), Regression(*ends)):
        examples = head.examples()
        assert all(head.check(label) is None for label in examples)
        assert len(set(examples)) >= max(2, len(head.names))


def test_names_stand_in_the_order_of_the_labels():
    assert list(FIVE.names) == ["a", "b", "c", "d", "e"]
    assert list(Binary().names) == ["no", "yes"]
    assert list(Regression(0, 5).names) == []


# Saturated, tied and middling outputs.
OUTPUTS = [
    (FIVE, torch.cat([10 * torch.randn(50, 5), torch.zeros(1, 5), 200 * torch.eye(5)])),
    (Binary(), torch.tensor([-200, -20, -1.5, -1e-6, 0, 0.3, 2, 200])),
]


@pytest.mark.parametrize(("head", "outputs"), OUTPUTS)
def test_probabilities_are_of_the_classes_and_confidence_is_the_predictions_own(head, outputs):
    probabilities = head.probabilities(outputs)
    assert probabilities.shape == (len(outputs), len(head.names))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(len(outputs)))
    own = probabilities[torch.arange(len(outputs)), head.predict(outputs)]
    torch.testing.assert_close(head.confidence(outputs), own, rtol=0, atol=0)
    assert bool((own >= 1 / len(head.names) - 1e-7).all())


def test_probabilities_by_hand():
    logits = torch.tensor([[0.0, math.log(2), math.log(5)]])
    head = MultiClass(["a", "b", "c"])
    torch.testing.assert_close(head.probabilities(logits), torch.tensor([[1, 2, 5]]) / 8)
    torch.testing.assert_close(head.confidence(logits), torch.tensor([5 / 8]))
    logits = torch.tensor([math.log(3), -math.log(3)])
    expected = torch.tensor([[1, 3], [3, 1]]) / 4
    torch.testing.assert_close(Binary().probabilities(logits), expected)
    torch.testing.assert_close(Binary().confidence(logits), torch.tensor([0.75, 0.75]))


def test_small_probabilities_are_not_rounded_away():
    smallest = Binary().probabilities(torch.tensor([-40.0, 40.0])).amin(-1)
    torch.testing.assert_close(smallest, torch.full([2], math.exp(-40)))


def test_a_number_has_no_confidence():
    head, outputs = Regression(0, 5), torch.tensor([1.0, 2.0, 3.0])
    assert head.confidence(outputs).isnan().all()
    assert head.confidence(outputs).shape == (3,)
    assert head.probabilities(outputs).shape == (3, 0)
