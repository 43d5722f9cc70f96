"""What the tests' processes, and the server whose forks they use, have done once and for all.

Hundreds of tests compose settings or train, most of them in a process that is forked for them. Here
Hydra reads each file of ``conf`` once and not each time, and all has been imported and called once.
"""

import io
import pickle
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

from mtl_bert.training import run as running
from tests.composing import settings_of

Plugins.instance()
_FILES = SourcesRegistry.instance().resolve("file")
_read, _kept = _FILES.load_config, dict[tuple[Any, ...], bytes]()


def _read_once(self: Any, config_path: str) -> Any:
    path = Path(self.path, self._normalize_file_name(config_path)).resolve()
    if not path.is_file():
        return _read(self, config_path)
    state = path.stat()
    key = (self.provider, self.path, path, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in _kept:
        _kept[key] = pickle.dumps(_read(self, config_path))
    return pickle.loads(_kept[key])


_FILES.load_config = _read_once
with (
    tempfile.TemporaryDirectory() as place,
    redirect_stdout(io.StringIO()),
    redirect_stderr(io.StringIO()),
):
    words = (
        "task=[sst,sts]", "data.scale=0.002", "tasks.sst.sources.demo.dev=4",
        "tasks.sts.sources.demo.dev=4", "epochs=1", "B=8", "trainer.accelerator=cpu",
        "trainer.cache=false", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    running.run(settings_of(*words), Path(place, "run"))
