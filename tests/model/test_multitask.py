"""One encoder and a head for each task, against computations by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

from mtl_bert.data.batch import Batch, Tokenized
from mtl_bert.data.tokenize import Tokenize
from mtl_bert.model import MultiTaskModel, Pretrained
from mtl_bert.tasks import Binary, MultiClass, Regression
from tests.factories import TINY, make_table, make_task, random_texts

TOKENIZER = TINY.tokenizer()
CLASSES = make_task("classes", head=MultiClass(["a", "b", "c", "d", "e"]))
PAIRS = make_task("pairs", pair=True, head=Binary())
SCALE = make_task("scale", pair=True, head=Regression(0, 5))
TASKS = [CLASSES, PAIRS, SCALE]
D = 16


def make_model(source=TINY, seed=0, **settings):
    torch.manual_seed(seed)
    return MultiTaskModel(TASKS, source, **settings).eval()


def make_batch(texts, *, joint=True, tokenizer=TOKENIZER) -> Batch:
    encoded = Tokenize(tokenizer, 32, joint)(make_table(texts))
    return Tokenized(encoded, torch.float32)[np.arange(len(texts))]


def texts_for(task, count, seed=0):
    return random_texts(TOKENIZER, count, 2 if task.pair else 1, longest=10, seed=seed)


@pytest.fixture(scope="module")
def distil(tmp_path_factory):
    """An encoder without a pooler and without segments."""
    place = tmp_path_factory.mktemp("models") / "distil"
    config = DistilBertConfig(
        vocab_size=len(TOKENIZER),
        dim=D,
        n_layers=2,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    DistilBertModel(config).save_pretrained(place)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZER.backend_tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        pad_token=TOKENIZER.pad_token,
        unk_token=TOKENIZER.unk_token,
        cls_token=TOKENIZER.cls_token,
        sep_token=TOKENIZER.sep_token,
        mask_token=TOKENIZER.mask_token,
    )
    tokenizer.save_pretrained(place)
    return Pretrained(str(place), local=True)


def test_parameters_are_named_by_encoder_and_task():
    names = [name for name, _ in make_model().named_parameters()]
    assert all(name.startswith(("encoder.", "heads.")) for name in names)
    assert {name for name in names if name.startswith("heads.")} == {
        f"heads.{task.name}.{part}" for task in TASKS for part in ("weight", "bias")
    }
    encoder = {name.removeprefix("encoder.") for name in names if name.startswith("encoder.")}
    assert encoder == {name for name, _ in TINY.encoder().named_parameters()}


def test_an_encoder_for_each_task():
    model = make_model(encoder_per_task=True)
    names = [name for name, _ in model.named_parameters()]
    heads = tuple(f"heads.{task.name}." for task in TASKS)
    encoders = tuple(f"encoders.{task.name}." for task in TASKS)
    assert all(name.startswith(heads + encoders) for name in names)
    first, *others = (dict(model.encoders[task.name].named_parameters()) for task in TASKS)
    for other in others:
        assert other.keys() == first.keys()
        for name, parameter in other.items():
            assert torch.equal(parameter, first[name]), name
            assert parameter.data_ptr() != first[name].data_ptr(), name  # equal, not the same


def test_an_encoder_for_each_task_begins_as_the_common_one_would():
    common, apart = make_model(), make_model(encoder_per_task=True)
    for task in TASKS:
        batch = make_batch(texts_for(task, 3))
        assert torch.equal(common(task.name, batch), apart(task.name, batch))


def test_a_tasks_own_encoder_is_the_one_that_it_uses():
    model = make_model(encoder_per_task=True)
    batch = make_batch(texts_for(PAIRS, 3))
    before = {task.name: model(task.name, batch) for task in (PAIRS, SCALE)}
    with torch.no_grad():
        for parameter in model.encoders["pairs"].parameters():
            parameter.mul_(1.5)
    assert not torch.equal(model("pairs", batch), before["pairs"])
    assert torch.equal(model("scale", batch), before["scale"])


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("B", [1, 4])
def test_outputs_have_the_form_that_the_loss_expects(joint, B):
    model = make_model(cross_encode=joint)
    shapes = {
        task.name: tuple(model(task.name, make_batch(texts_for(task, B), joint=joint)).shape)
        for task in TASKS
    }
    assert shapes == {"classes": (B, 5), "pairs": (B,), "scale": (B,)}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_one_sequence_against_a_computation_by_hand(task):
    model = make_model()
    texts = texts_for(task, 4)
    outputs = model(task.name, make_batch(texts))
    for row, output in zip(texts, outputs, strict=True):
        pooled = model.encoder(**TOKENIZER(*row, return_tensors="pt")).pooler_output
        expected = nn.functional.linear(
            pooled, model.heads[task.name].weight, model.heads[task.name].bias
        )
        assert torch.allclose(output, expected.squeeze(), atol=1e-5)


def test_pairs_alone_against_a_computation_by_hand():
    model = make_model(cross_encode=False)
    head = model.heads["pairs"]
    assert head.in_features == 3 * D
    assert model.heads["classes"].in_features == D  # one text is one sequence either way
    texts = texts_for(PAIRS, 4)
    outputs = model("pairs", make_batch(texts, joint=False))
    for (a, b), output in zip(texts, outputs, strict=True):
        u = model.encoder(**TOKENIZER(a, return_tensors="pt")).pooler_output[0]
        v = model.encoder(**TOKENIZER(b, return_tensors="pt")).pooler_output[0]
        expected = head.weight[0] @ torch.cat([u, v, (u - v).abs()]) + head.bias[0]
        assert output.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_padding_changes_nothing(task, joint):
    model = make_model(cross_encode=joint)
    texts = texts_for(task, 6)
    together = make_batch(texts, joint=joint)
    assert not together.mask.all()
    alone = [model(task.name, make_batch([row], joint=joint))[0] for row in texts]
    assert torch.allclose(model(task.name, together), torch.stack(alone), atol=1e-5)


def test_segments_reach_the_encoder():
    model = make_model()
    batch = make_batch(texts_for(PAIRS, 3))
    without = replace(batch, token_type_ids=torch.zeros_like(batch.token_type_ids))
    assert not torch.allclose(model("pairs", batch), model("pairs", without), atol=1e-2)


@pytest.mark.parametrize("joint", [True, False])
def test_an_encoder_without_a_pooler_takes_the_mean_of_the_tokens(distil, joint):
    model = make_model(distil, cross_encode=joint)
    tokenizer = distil.tokenizer()
    assert model.features == D
    for task in TASKS:
        texts = texts_for(task, 4)
        batch = make_batch(texts, joint=joint, tokenizer=tokenizer)
        assert batch.token_type_ids is None
        outputs = model(task.name, batch)
        for row, output in zip(texts, outputs, strict=True):
            calls = [row] if joint or not task.pair else [(text,) for text in row]
            means = [
                model.encoder(**tokenizer(*call, return_tensors="pt")).last_hidden_state[0].mean(0)
                for call in calls
            ]
            if len(means) == 2:
                means.append((means[0] - means[1]).abs())
            expected = model.heads[task.name](torch.cat(means))
            assert torch.allclose(output, expected.squeeze(), atol=1e-5)


@pytest.mark.parametrize("encoder_per_task", [True, False])
def test_pretrained_encoders_begin_in_training_mode(distil, encoder_per_task):
    """Transformers gives them in evaluation mode: left so, they would train without dropout."""
    assert not distil.encoder().training
    model = MultiTaskModel(TASKS, distil, encoder_per_task=encoder_per_task)
    assert all(module.training for module in model.modules())


def test_dropout_is_on_the_pooled_output():
    """With the head's dropout at all but 1 hardly anything but the head's bias is left."""
    model = make_model(dropout=0.999999).train()
    batch = make_batch(texts_for(CLASSES, 3))
    assert torch.allclose(model("classes", batch), model.heads["classes"].bias.expand(3, 5))
    assert not torch.allclose(model.eval()("classes", batch), model.heads["classes"].bias)


def test_heads_compute_in_single_precision_under_autocast():
    model = make_model()
    for task in TASKS:
        batch = make_batch(texts_for(task, 3))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(task.name, batch)
        assert outputs.dtype == torch.float32
        assert torch.allclose(outputs, model(task.name, batch), atol=0.1)


def test_double_precision():
    model = make_model().double()
    batch = make_batch(texts_for(SCALE, 3))
    single = make_model()("scale", batch)
    assert model("scale", batch).dtype == torch.float64
    assert torch.allclose(model("scale", batch).float(), single, atol=1e-5)


def test_gradients_of_one_task_leave_other_heads_alone():
    model = make_model()
    model("pairs", make_batch(texts_for(PAIRS, 3))).sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {name for name in with_gradient if name.startswith("heads.")} == {
        "heads.pairs.weight",
        "heads.pairs.bias",
    }
    assert any(name.startswith("encoder.") for name in with_gradient)


def test_the_same_seed_gives_the_same_model():
    first, second, other = make_model(seed=1), make_model(seed=1), make_model(seed=2)
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.heads["classes"].weight, other.heads["classes"].weight)
