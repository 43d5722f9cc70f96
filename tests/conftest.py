"""What holds for every test: one thread, no network, a cache of the tests' own."""

import atexit
import gc
import multiprocessing
import os
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's libraries are imported
os.environ["MTL_BERT_CACHE"] = tempfile.mkdtemp(prefix="cache-of-tests-")

import torch
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

torch.set_num_threads(1)

# Of the server of processes, whoever is the first to want one.
multiprocessing.set_forkserver_preload(["mtl_bert.training.run"])

atexit.register(shutil.rmtree, os.environ["MTL_BERT_CACHE"], ignore_errors=True)

# A third of what Hydra takes to compose settings, which hundreds of tests do, is reading the same
# files of conf again: each is read once for each state that it has.
Plugins.instance()
_Files = SourcesRegistry.instance().resolve("file")
_read, _kept = _Files.load_config, dict[tuple[Any, ...], bytes]()


def _read_once(self: Any, config_path: str) -> Any:
    path = Path(self.path, self._normalize_file_name(config_path)).resolve()
    if not path.is_file():
        return _read(self, config_path)
    state = path.stat()
    key = (self.provider, self.path, path, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in _kept:
        _kept[key] = pickle.dumps(_read(self, config_path))
    return pickle.loads(_kept[key])


_Files.load_config = _read_once


def pytest_collection_finish() -> None:
    """All is imported and stays: the collector need not go through it, here and in every fork."""
    gc.collect()
    gc.freeze()
