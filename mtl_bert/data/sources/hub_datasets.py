"""The tasks' public data sets, through the ``datasets`` library."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl_bert.data.sources.records import Columns, Record, Records, Source
from mtl_bert.data.table import DataError
from mtl_bert.data.token_cache import Fingerprint, UnknownContentError, digest
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import first_line
from mtl_bert.utils.hub import require_hub

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Hub(Source):
    """Data sets of a hub, or local folders of the same form.

    A task's ``sources.hub`` names ``path`` (and ``config``), the data set's split for each of
    train, dev and test, and the columns.

    Attributes:
        name: the key under a task's ``sources``.
    """

    name: str = "hub"

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Load one split of a data set, by the ``datasets`` library."""
        columns, data, origin = self._load(task, split, labelled=labelled)
        records = (Record(f"{origin} row {row}", fields) for row, fields in enumerate(data))
        return Records(columns, records, origin)

    def fingerprint(self, task: Task, split: str) -> Fingerprint:
        """A digest of the library's own fingerprint of the data set, and of how it is read."""
        labelled = split != "test"
        columns, data, origin = self._load(task, split, labelled=labelled)
        known = getattr(data, "_fingerprint", None)  # the library's documentation names it
        if not isinstance(known, str):
            raise UnknownContentError(f"{origin} has no fingerprint")
        how = (columns, task.pair, task.head, labelled)
        return Fingerprint(origin, digest("hub", known, origin, *how))

    def _load(self, task: Task, split: str, *, labelled: bool) -> "tuple[Columns, Dataset, str]":
        name, settings = self._settings(task, split, "the name of a split")
        path, config = settings.pop("path"), settings.pop("config", None)
        columns = Columns.read(task, settings)
        data, origin = _load(path, config, name), f"{path} {name}"
        columns.check(task, data.column_names, origin, labelled=labelled)
        return columns, data, origin


def _load(path: str, config: str | None, split: str) -> "Dataset":
    try:
        import datasets
    except ImportError:
        raise DataError(
            "data=hub: expected the datasets library, found none installed; write "
            "pip install 'mtl-bert[hub]'"
        ) from None

    def load() -> "Dataset":
        return datasets.load_dataset(path, config, split=split, trust_remote_code=False)

    if not Path(path).exists():
        try:
            with _offline(datasets.config):
                return load()
        except Exception:
            # Not in the cache, for whatever reason the library gives; the hub may have it.
            require_hub(
                f"data set {path}", "write data=demo, or data=cs224n data.dir=DIR for local files"
            )
    try:
        return load()
    except Exception as error:
        # The library has no base of its errors: some are its own, some its readers'.
        raise DataError(
            f"{path}: expected split {split} of config {config or 'default'}, found that it does "
            f"not load ({first_line(error)}); mend sources.hub in the task's file"
        ) from error


@contextmanager
def _offline(config: Any) -> Iterator[None]:
    """Keep the library from its retries, which take it half a minute where there is no network."""
    before, config.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before
