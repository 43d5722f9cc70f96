"""The tasks' public data sets, through the ``datasets`` library."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from pydantic import Field

from mtl_bert.data.sources.records import Place, Record, Records, Source, said
from mtl_bert.data.table import DataError
from mtl_bert.tasks import Task
from mtl_bert.utils.errors import first_line
from mtl_bert.utils.hub import require_hub

if TYPE_CHECKING:
    from datasets import Dataset


class HubPlace(Place, frozen=True):
    """A data set, or a local folder of the same form, with the names of its splits and columns.

    A split of another configuration is called ``CONFIG/SPLIT``.
    """

    path: str = Field(description="the name of a data set, or a folder")
    config: str | None = Field(default=None, description="a configuration of the data set, or null")


@dataclass(frozen=True)
class Hub(Source):
    """Data sets of a hub; a task's ``sources.hub`` is a ``HubPlace``.

    Attributes:
        name: of its entry among a task's sources.
        dir: a folder with a folder for each configuration, in place of the hub.
    """

    name: str = "hub"
    dir: str | None = None

    def open(self, task: Task, split: str, *, labelled: bool) -> Records:
        """Load one split of a data set, by the ``datasets`` library."""
        place = said(HubPlace, task, self.name)
        config, _, name = place.of(task, self.name, split).rpartition("/")
        if config:  # ax/test is the test split of configuration ax
            place = place.model_copy(update={"config": config})
        if self.dir is not None:
            place = place.model_copy(update=self._local(place))
        data, origin = _load(place.path, place.config, name), f"{place.path} {name}"
        place.check(task, data.column_names, origin, labelled=labelled)
        records = (Record(f"{origin} row {row}", fields) for row, fields in enumerate(data))
        # The library's documentation names it; of data without one, nothing is known.
        known = getattr(data, "_fingerprint", None) or object()
        return Records(place, records, origin, lambda: (origin, known))

    def _local(self, place: HubPlace) -> dict[str, str | None]:
        path = Path(self.dir or ".") / (place.config or Path(place.path).name)
        if path.is_dir():
            return {"path": str(path), "config": None}
        raise DataError(
            f"data.dir: expected a folder {path.name} in {self.dir}, found none; put the files "
            "there, or leave data.dir out to load them from the hub"
        )


def _load(path: str, config: str | None, split: str) -> "Dataset":
    try:
        import datasets
    except ImportError:
        raise DataError(
            "data=hub: expected the datasets library, found none installed; write "
            "pip install 'mtl-bert[hub]'"
        ) from None
    # Some unpickle what they find.
    if path in datasets.packaged_modules._PACKAGED_DATASETS_MODULES and not Path(path).is_dir():
        raise DataError(
            f"sources.hub.path: expected a data set or a folder, found {path!r}, which reads "
            "whatever files are in the current folder; name your folder"
        )

    load = partial(datasets.load_dataset, path, config, split=split, trust_remote_code=False)
    if not Path(path).exists():
        try:
            # Its retries take half a minute where there is no network.
            with patch.object(datasets.config, "HF_HUB_OFFLINE", True):
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
            f"{path}: expected split {split} of config {config or 'default'}, found one that "
            f"does not load ({first_line(error)}); mend sources.hub in the task's file"
        ) from error
