"""A service that answers with a trained model; requests that come together share a batch.

MODEL=runs/first uvicorn serve_fastapi:app     # a run's folder, or what mtl-bert export made of it
curl localhost:8000/sst -H "content-type: application/json" -d '["A fine film."]'
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, HTTPException

import mtl_bert

WAIT, MOST = 0.005, 64  # seconds that a request waits for others, and requests in a batch


async def answer(app: FastAPI) -> None:
    """Answer what waits, over and over: the requests about a task together."""
    while True:
        batch = [await app.state.queue.get()]
        await asyncio.sleep(WAIT)
        while len(batch) < MOST and not app.state.queue.empty():
            batch.append(app.state.queue.get_nowait())
        for task in {task for task, _, _ in batch}:
            own = [(texts, reply) for of, texts, reply in batch if of == task]
            every = [text for texts, _ in own for text in texts]
            try:
                frame = await asyncio.to_thread(app.state.model.predict, task, every)
                rows = iter(frame.astype(object).where(frame.notna(), None).to_dict("records"))
                for texts, reply in own:
                    answers = [next(rows) for _ in texts]
                    if not reply.done():  # else whoever asked has gone
                        reply.set_result(answers)
            except Exception as error:  # which ends these requests, and not the service
                for reply in (reply for _, reply in own if not reply.done()):
                    reply.set_exception(error)


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """Load the model before the first request."""
    app.state.model, app.state.queue = mtl_bert.load(os.environ["MODEL"]), asyncio.Queue()
    worker = asyncio.create_task(answer(app))
    yield
    worker.cancel()
    with suppress(asyncio.CancelledError):
        await worker


app = FastAPI(lifespan=life)


@app.post("/{task}")
async def predict(task: str, texts: list[str] | list[tuple[str, str]]) -> list[dict[str, object]]:
    """A row for each text: prediction, confidence and name."""
    known = app.state.model.model.tasks.get(task)
    if known is None or any(isinstance(text, str) == known.pair for text in texts):
        raise HTTPException(422, "expected a task of the model, and the texts or pairs it takes")
    await app.state.queue.put((task, texts, reply := asyncio.get_running_loop().create_future()))
    return await reply
