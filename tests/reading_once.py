"""Has Hydra read each file of ``conf`` once in a process, and not each time that it composes.

Hundreds of tests compose settings; a third of what that takes is reading the same files again.
"""

import pickle
from pathlib import Path
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

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
settings_of()  # the processes that are forked from this one know Hydra's grammar, too
