"""The service answers as the model does, and requests that come together in one batch."""

import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mtl_bert
from mtl_bert.runs.text_model import TextModel
from tests.cli.driving import train_here
from tests.examples.test_examples import EXAMPLES

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "run"
    train_here(folder, "sampler=rr")
    return folder


@pytest.fixture
def client(run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("MODEL", str(run))
    monkeypatch.delitem(sys.modules, "serve_fastapi", raising=False)
    service = importlib.import_module("serve_fastapi")
    monkeypatch.setattr(service, "WAIT", 0.5)
    with TestClient(service.app) as client:
        yield client


def test_it_answers_as_the_model_does(client: Any, run: Path) -> None:
    model = mtl_bert.load(run)
    for task, texts in {
        "sst": ["A fine film .", "A dull one ."],
        "sts": [("a man", "a dog")],
    }.items():
        response = client.post(f"/{task}", json=texts)
        assert response.status_code == 200
        expected = model.predict(task, texts)  # type: ignore[arg-type]
        found = pd.DataFrame(response.json())
        assert found.prediction.tolist() == pytest.approx(expected.prediction.tolist(), abs=1e-5)
        assert list(found) == list(expected)
    for task, wrong in {"gone": ["a"], "sst": [["a", "b"]], "sts": ["a"]}.items():
        assert client.post(f"/{task}", json=wrong).status_code == 422


def test_requests_share_a_batch(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    predict = TextModel.predict

    def counting(self: TextModel, task: str, texts: list[str]) -> pd.DataFrame:
        sizes.append(len(texts))
        return predict(self, task, texts)

    monkeypatch.setattr(TextModel, "predict", counting)
    texts = [f"film number {n} is fine ." for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda text: client.post("/sst", json=[text]).json(), texts))
    assert len(sizes) < 6
    assert sum(sizes) == 6
    alone = client.post("/sst", json=texts).json()
    for (one,), same in zip(together, alone, strict=True):
        assert one["name"] == same["name"]
        assert one["confidence"] == pytest.approx(same["confidence"], abs=1e-5)
