"""Hydra composes thousands of configurations in the tests: it does each part of that work once.

The files of ``conf`` do not change meanwhile. A choice of its files (by words such as
``sampler=rr``) is looked up, read and merged once; what words set besides is set each time.
"""

import pickle
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

from mtl_bert.config.compose import CONF

Plugins.instance()
_FILES = SourcesRegistry.instance().resolve("file")
_read, _list = _FILES.load_config, config_loader_impl.create_defaults_list
_merge = ConfigLoaderImpl._compose_config_from_defaults_list
_kept = dict[Hashable, bytes]()
_lists = dict[Hashable, DefaultsList]()


def _read_once(self: Any, config_path: str) -> Any:
    path = Path(self.path, self._normalize_file_name(config_path)).resolve()
    if not path.is_file():
        return _read(self, config_path)
    state = path.stat()
    key = (self.provider, self.path, path, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in _kept:
        _kept[key] = pickle.dumps(_read(self, config_path))
    return pickle.loads(_kept[key])


def _all_is_ours(repository: Any) -> bool:
    """Whether there are no files but those of ``conf``: a user's own may change."""
    files = [source.path for source in repository.get_sources() if source.scheme() == "file"]
    return files == [str(CONF)]


def _list_once(
    repo: Any, config_name: str | None, overrides_list: list[Any], **how: bool
) -> DefaultsList:
    if not _all_is_ours(repo):
        return _list(repo, config_name, overrides_list, **how)
    single = [word for word in overrides_list if not word.is_sweep_override()]
    rest = [
        w for w in single if isinstance(w.value(), dict) or not repo.group_exists(w.key_or_group)
    ]
    choices = [word.input_line for word in single if word not in rest]
    key = (config_name, *choices, *how.items())
    if key not in _lists:
        _lists[key] = _list(repo, config_name, overrides_list, **how)
    return replace(_lists[key], config_overrides=rest)


def _merge_once(self: Any, defaults: list[Any], repo: Any) -> Any:
    if not _all_is_ours(repo):
        return _merge(self, defaults, repo)
    key = tuple((each.config_path, each.package) for each in defaults)
    if key not in _kept:
        _kept[key] = pickle.dumps(_merge(self, defaults, repo))
    return pickle.loads(_kept[key])


_FILES.load_config = _read_once
config_loader_impl.create_defaults_list = _list_once
ConfigLoaderImpl._compose_config_from_defaults_list = _merge_once  # type: ignore[method-assign]
