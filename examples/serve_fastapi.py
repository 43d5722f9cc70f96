"""A service that answers with a trained model; requests that come together share a batch.

MODEL=runs/first uvicorn serve_fastapi:app     # a run's folder, or what mtl-bert export made of it
curl localhost:8000/sst -H "content-type: application/json" -d '["A fine film."]'
"""

import asyncio
import os
from typing import Any

from fastapi import FastAPI, HTTPException

import mtl_bert

WAIT = 0.005  # seconds that a request waits for others
app, model, one_at_a_time = FastAPI(), mtl_bert.load(os.environ["MODEL"]), asyncio.Lock()
waiting: dict[str, tuple[list[Any], asyncio.Task[Any]]] = {}  # each task's texts and answers


async def answer(task: str) -> list[dict[str, object]]:
    """Answer the texts that have come until the model is free."""
    await asyncio.sleep(WAIT)
    async with one_at_a_time:
        texts, _ = waiting.pop(task)
        frame = await asyncio.to_thread(model.predict, task, texts)
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


@app.post("/{task}")
async def predict(task: str, texts: list[str] | list[tuple[str, str]]) -> list[dict[str, object]]:
    """A row for each text: prediction, confidence and name."""
    known = model.model.tasks.get(task)
    if known is None or any(isinstance(text, str) == known.pair for text in texts):
        raise HTTPException(422, "expected a task of the model, and the texts or pairs it takes")
    if task not in waiting:
        waiting[task] = [], asyncio.create_task(answer(task))
    together, answers = waiting[task]
    start = len(together)
    together += texts
    # Who asked first may go: the others' answers are not cancelled.
    return (await asyncio.shield(answers))[start : start + len(texts)]
