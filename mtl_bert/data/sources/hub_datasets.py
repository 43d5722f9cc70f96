"""The tasks' public data sets, through the ``datasets`` library."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mtl_bert.data.table import (
    Columns,
    DataError,
    MissingSplitError,
    Table,
    build_named_table,
    build_table,
)
from mtl_bert.data.token_cache import Fingerprint, UnknownContentError, digest
from mtl_bert.tasks import Task
from mtl_bert.utils.hub import require_hub

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Hub:
    """Data sets of a hub, or local folders of the same form.

    A task's ``sources.hub`` names ``path`` (and ``config``), the data set's split for each of
    train, dev and test, and the columns.

    Attributes:
        name: the key under a task's ``sources``.
    """

    synthetic: ClassVar[bool] = False

    name: str = "hub"

    def read(self, task: Task, split: str) -> Table:
        """Read and check one split of a task.

        Raises:
            DataError: the ``datasets`` library, a split or a column is missing, or the
                data set does not load.
            HubError: the data set is not in the cache and the hub does not answer.
        """
        labelled = split != "test"
        columns, data, origin = self._open(task, split, labelled=labelled)
        records = _records(data, origin)
        return build_table(task, columns, records, origin, labelled=labelled)

    def rows(self, task: Task, split: str) -> Table:
        """Read every row of a split that has an id, without labels.

        Raises:
            DataError, HubError: as ``read``.
        """
        columns, data, origin = self._open(task, split, labelled=False)
        return build_named_table(task, columns, _records(data, origin), origin)

    def fingerprint(self, task: Task, split: str) -> Fingerprint:
        """What ``read`` will give: by the library's own fingerprint of the data set.

        Raises:
            DataError, HubError: as ``read``.
        """
        labelled = split != "test"
        columns, data, origin = self._open(task, split, labelled=labelled)
        known = getattr(data, "_fingerprint", None)  # the library's documentation names it
        if not isinstance(known, str):
            raise UnknownContentError(f"{origin} has no fingerprint")
        return Fingerprint(
            origin, digest("hub", known, origin, columns, task.pair, task.head, labelled)
        )

    def _open(self, task: Task, split: str, *, labelled: bool) -> "tuple[Columns, Dataset, str]":
        source = dict(task.sources[self.name])
        path, config = source.pop("path"), source.pop("config", None)
        splits: dict[str, Any] = {s: source.pop(s, None) for s in ("train", "dev", "test")}
        columns = Columns.read(task, source)
        if splits[split] is None:
            raise MissingSplitError(
                f"task {task.name}: expected the name of a split for {split}, found none",
                f"add sources.{self.name}.{split} to the task's file",
            )
        data = _load(path, config, splits[split])
        origin = f"{path} {splits[split]}"
        columns.check(task, data.column_names, origin, labelled=labelled)
        return columns, data, origin


def _records(data: "Dataset", origin: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, record in enumerate(data):
        yield f"{origin} row {number}", record


def _load(path: str, config: str | None, split: str) -> "Dataset":
    try:
        import datasets
    except ImportError:
        raise DataError(
            "data=hub: expected the datasets library, found none installed; write "
            "pip install 'mtl-bert[hub]'"
        ) from None

    def load() -> "Dataset":
        return datasets.load_dataset(path, config, split=split)

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
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path}: expected split {split} of config {config or 'default'}, found that it does "
            f"not load ({first}); mend sources.hub in the task's file"
        ) from error


@contextmanager
def _offline(config: Any) -> Iterator[None]:
    """Keep the library from its retries, which take it half a minute where there is no network."""
    before, config.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before
