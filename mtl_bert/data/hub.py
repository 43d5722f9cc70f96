"""The tasks' public data sets, through the ``datasets`` library."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mtl_bert.data.rows import Columns, build_table
from mtl_bert.data.table import DataError, Table
from mtl_bert.hub import require_hub
from mtl_bert.tasks import Task

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
            DataError: the ``datasets`` library, a split or a column is missing.
            HubError: the data set is not in the cache and the hub does not answer.
        """
        source = dict(task.sources[self.name])
        path, config = source.pop("path"), source.pop("config", None)
        splits: dict[str, Any] = {s: source.pop(s, None) for s in ("train", "dev", "test")}
        columns = Columns(**source)
        if splits[split] is None:
            raise DataError(
                f"task {task.name}: expected the name of a split for {split}, found none; add "
                f"sources.{self.name}.{split} to the task's file"
            )
        data = _load(path, config, splits[split])
        origin = f"{path} {splits[split]}"
        labelled = split != "test"
        columns.check(task, data.column_names, origin, labelled=labelled)
        return build_table(task, columns, _records(data, origin), origin, labelled=labelled)


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
    cached_only = datasets.DownloadConfig(local_files_only=True)
    if Path(path).exists():
        return datasets.load_dataset(path, config, split=split)
    try:
        return datasets.load_dataset(path, config, split=split, download_config=cached_only)
    except Exception:
        # Not in the cache, for whatever reason the library gives; the hub itself may have it.
        require_hub(
            f"data set {path}", "write data=demo, or data=cs224n data.dir=DIR for local files"
        )
    return datasets.load_dataset(path, config, split=split)
