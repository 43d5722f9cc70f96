"""``mtl-bert export --to onnx``: one file with all heads that answers as the run did."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from mtl_bert.data.table import Table
from mtl_bert.inference import onnx_export
from mtl_bert.inference.opened import Run
from mtl_bert.utils.errors import UserError
from tests.cli.driving import Command, train_here, tree
from tests.factories import assert_tells

try:
    import onnx  # noqa: F401
    import onnxruntime
    import onnxscript  # noqa: F401
except ImportError:
    onnxruntime = None
needs_onnx = pytest.mark.skipif(onnxruntime is None, reason="needs pip install mtl-bert[onnx]")


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "out"
    Run.open(trained).save(out, "onnx")
    return out


@pytest.fixture
def made_before(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not traced again: the file that ``exported`` has is what the run's export begins with."""
    monkeypatch.setattr(
        onnx_export, "_write", lambda _, tasks, path: shutil.copy(exported / "model.onnx", path)
    )


@needs_onnx
@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("task", ["sst", "sts"])
def test_any_number_of_texts_of_any_length(
    trained: Path, exported: Path, task: str, size: int
) -> None:
    before = Run.open(trained).predictions(task)[:size]
    columns = [list(before[name]) for name in ("text", "text2") if name in before]
    tokenizer = AutoTokenizer.from_pretrained(exported)
    encoded = tokenizer(*columns, truncation=True, padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [each.name for each in session.get_outputs()] == ["sst", "sts"]
    feed = {each.name: encoded[each.name] for each in session.get_inputs()}
    (outputs,) = session.run([task], feed)
    assert len(outputs) == size
    answers = outputs.argmax(-1) if task == "sst" else outputs
    assert answers.tolist() == pytest.approx(before.prediction.tolist(), abs=1e-5)


@needs_onnx
def test_the_card_answers(trained: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code
    names: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
    exec(code[1].replace('"DIR"', repr(str(exported))), names)
    opened = Run.open(trained)
    expected = opened.predict("sst", ["A text."])
    assert names["outputs"].argmax() == expected.prediction[0]
    told = json.loads((exported / "heads.json").read_text("utf-8"))
    assert list(told["heads"]) == ["sst", "sts"]
    assert tree(exported)[:1] == ["README.md"]


@needs_onnx
@pytest.mark.usefixtures("made_before")
def test_int8_says_what_it_costs(trained: Path, command: Command, tmp_path: Path) -> None:
    ended = command("export", str(trained), "--to", "onnx", "--quantize", "int8", "--out", "out")
    assert ended.code == 0, ended.err
    assert [name for name in tree(tmp_path / "out") if "onnx" in name] == ["model_int8.onnx"]
    opened = Run.open(trained)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    for task, score in opened.results.tasks.items():
        row = re.search(rf"\| {task} \| \S+ \| ([\d.]+) \| ([\d.]+) \|", card)
        assert row
        assert float(row[1]) == pytest.approx(score.value, abs=1e-4)
        line = rf"{task}: outputs at most \S+ from PyTorch's on {score.n} dev examples; "
        assert re.search(line + rf"{score.metric} {row[1]}, with int8 weights {row[2]}", ended.out)
    # What the file itself answers has the metric that the card says.
    before = opened.predictions("sst")
    encoded = AutoTokenizer.from_pretrained(tmp_path / "out")(
        list(before.text), truncation=True, padding=True, return_tensors="np"
    )
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model_int8.onnx")
    feed = {each.name: encoded[each.name] for each in session.get_inputs()}
    (outputs,) = session.run(["sst"], feed)
    right = float((outputs.argmax(-1) == before.label).mean())
    row = re.search(r"\| sst \| \S+ \| [\d.]+ \| ([\d.]+) \|", card)
    assert row
    assert right == pytest.approx(float(row[1]), abs=0.03)  # it depends on what shares a batch


@needs_onnx
@pytest.mark.usefixtures("made_before")
def test_other_outputs_are_refused(
    trained: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = onnx_export.answers_of
    wrong = lambda *given: {task: of + 0.01 for task, of in answers(*given).items()}  # noqa: E731
    monkeypatch.setattr(onnx_export, "answers_of", wrong)
    ended = command("export", str(trained), "--to", "onnx", "--task", "sts", "--out", "out")
    assert ended.code == 2
    assert_tells(ended.err.rstrip("\n"), "--to: expected the outputs of PyTorch", "0.01")
    assert tree(tmp_path) == []


def test_what_it_needs_is_one_line(
    trained: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: name != "onnxscript" or None)
    ended = command("export", str(trained), "--to", "onnx", "--out", "out")
    assert ended.code == 2
    assert_tells(ended.err.rstrip("\n"), "onnxscript", "pip install 'mtl-bert[onnx]'")
    train_here(tmp_path / "run", "sampler=rr", "model.pairs=alone")
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: True)
    with pytest.raises(UserError) as error:
        Run.open(tmp_path / "run").save(tmp_path / "out", "onnx")
    assert_tells(error.value, "encoded alone", "task=sst")
    assert not (tmp_path / "out").exists()


@needs_onnx
def test_an_encoder_per_task_in_double_precision(tmp_path: Path) -> None:
    """Both encoders are in the one file, in single precision."""
    train_here(tmp_path / "run", "sampler=single", "trainer.precision=64-true")
    (line, _) = Run.open(tmp_path / "run").save(tmp_path / "out", "onnx")
    assert "from PyTorch's on 40 dev examples" in line
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    assert {each.type for each in session.get_outputs()} == {"tensor(float)"}


@needs_onnx
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # peft's
@pytest.mark.parametrize("adapter", ["pals", "lora", "lora_per_task"])
def test_adapters_are_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """Each task's output has its own adapter's part, which is large here."""
    if adapter != "pals":
        pytest.importorskip("peft")
    train_here(tmp_path / "run", "sampler=rr", f"model.adapter={adapter}")
    opened = Run.open(tmp_path / "run")
    loaded = onnx_export.unpacked(opened)
    without = loaded.outputs("sst", texts := Table("t", ("a",), (("A fine film.",),), None))
    torch.manual_seed(0)
    for name, parameter in loaded.model.named_parameters():
        if "lora_" in name or "adapters" in name:
            parameter.data.normal_(std=0.3)
    assert (loaded.outputs("sst", texts) - without).abs().max() > 100 * onnx_export.TOLERANCE
    monkeypatch.setattr(onnx_export, "unpacked", lambda _: loaded)
    lines = opened.save(tmp_path / "out", "onnx")
    assert [line.partition(":")[0] for line in lines] == ["sst", "sts"]
