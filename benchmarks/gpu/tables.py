"""Tables 2 and 4 by the paper's own schedule, as many jobs at a time as fit on the device."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from mtl_bert.runs.results import RESULTS

ROWS = {2: ("rr", "vanilla_16000", "annealed_16000", "random"), 4: ("glob(*)",)}
SMOKE = (
    "model=tiny", "data=demo", "data.scale=0.005", "epochs=1",
    "trainer.accelerator=cpu", "trainer.threads=1",
)  # fmt: skip
PATIENCE = 40  # seconds for the runs to save when the time is over


def tables(
    device: str, out: Path, *, smoke: bool, limit: float, jobs: int, data: str, encoder: str
) -> tuple[str, bool]:
    """Train the tables' rows, seed after seed, until the time is over; the same again goes on.

    Writes ``tables.tar.xz``: results and settings of the runs that are finished. Says what came of
    it, and whether nothing failed.
    """
    folder, end, said, worked = out / "tables", time.perf_counter() + limit, [], True
    chosen: Sequence[str] = SMOKE
    if not smoke:
        chosen = (
            "model=local", f"model.path={encoder}", "data=cs224n", f"data.dir={data}",
            f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}", "trainer.threads=1",
            "trainer.precision=bf16-mixed",
        )  # fmt: skip
    beside = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}") if jobs > 1 else ()
    # The shorter rows first.
    for seed, table in [(1, 4)] if smoke else product((1, 2, 3), (2, 4)):
        rows = ("rr",) if smoke else ROWS[table]
        code = _until(end, [
            sys.executable, "-m", "mtl_bert.train", "-m",
            f"+experiment/table{table}={','.join(rows)}", f"seed={seed}", *chosen, *beside,
            f"hydra.sweep.dir={folder}", "trainer.keep=none",
            "trainer.enable_progress_bar=false",
        ], out / f"table{table}-seed{seed}.log")  # fmt: skip
        said.append(f"Table {table}, seed {seed}: exit code {code}")
        worked = code in (0, 75)
        if time.perf_counter() > end or not worked:
            break
    done = sorted(folder.glob(f"*/{RESULTS}"))
    with tarfile.open(out / "tables.tar.xz", "w:xz") as archive:
        for path in done:
            archive.add(path, f"{path.parent.name}/{RESULTS}")
    for path in done:
        found = json.loads(path.read_text("utf-8"))
        scores = ", ".join(f"{t} {s['value']:.3f}" for t, s in found["tasks"].items())
        minutes = found["minutes_per_epoch"]
        said.append(f"{path.parent.name}: {found['score']:.3f} ({scores}), {minutes:.2f} min/epoch")
    return "\n".join(said), worked


def _until(end: float, command: Sequence[str], log: Path) -> int | str:
    """Run a command, and ask it to save and stop when the time is over."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return process.wait(max(1.0, end - time.perf_counter()))
        except subprocess.TimeoutExpired:
            return _stop(process)
        except KeyboardInterrupt:  # it is in a session of its own, and would go on
            _stop(process)
            raise


def _stop(process: "subprocess.Popen[bytes]") -> int | str:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "killed"
