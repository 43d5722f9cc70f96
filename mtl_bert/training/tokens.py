"""The tokens of a run's data: out of the cache, or of tables that are read for it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mtl_bert.config.settings import Settings
from mtl_bert.data import Source, Table, token_cache
from mtl_bert.data.corpus import refuse, report
from mtl_bert.data.token_cache import Cache
from mtl_bert.data.tokenize import Encoded
from mtl_bert.runs.factories import make_selections
from mtl_bert.runs.text_model import TextModel
from mtl_bert.tasks import Task
from mtl_bert.training.callbacks.progress import bar_wanted

log = logging.getLogger(__name__)


class Tokens:
    """Turns a run's tables into tokens, and can say what it did.

    Args:
        settings: the run's.
        text_model: the run's.
    """

    def __init__(self, settings: Settings, text_model: TextModel) -> None:
        self._wanted, self._text_model = settings.data, text_model
        self._selections = make_selections(settings)
        self._seconds, self._made, self._kept = 0.0, 0, 0
        limit = settings.trainer.cache_gib * token_cache.GIBI
        cache = Cache(token_cache.directory(), limit) if settings.trainer.cache else None
        self._encoding = text_model.encoding(
            cache, bar=bar_wanted(settings.trainer.enable_progress_bar)
        )

    def of_training_sets(
        self, tasks: Sequence[Task], sources: Mapping[str, Source]
    ) -> dict[str, Encoded]:
        """What is wanted of them; files are read only if their tokens are not there.

        Raises:
            DataError: one that cannot be read, has too many bad rows, or too few.
        """

        def read(task: Task) -> Table:
            table = sources[task.name].read(task, "train")
            refuse(table, self._wanted.max_bad_share)
            return table

        found = self._of("train", tasks, sources, read)
        for whole in found.values():
            report(whole, self._wanted.max_bad_share)
        return self._selections["train"].of(found)

    def of_dev_sets(
        self, tasks: Sequence[Task], sources: Mapping[str, Source], tables: Mapping[str, Table]
    ) -> dict[str, Encoded]:
        """What is wanted of whole tables that are read in any case.

        Raises:
            DataError: a selection that cannot be made.
        """
        found = self._of("dev", tasks, sources, lambda task: tables[task.name])
        return self._selections["dev"].of(found)

    def report(self, *splits: Mapping[str, Encoded]) -> None:
        """Say what was done, once nothing can be wrong with the data any more."""
        log.info(
            "encoded %s examples in %.1f s; %s were in the cache",
            *(f"{self._made:,}", self._seconds, f"{self._kept:,}"),
        )
        for split in splits:
            self._text_model.report_cut(split)

    def _of(
        self,
        split: str,
        tasks: Sequence[Task],
        sources: Mapping[str, Source],
        table_of: Callable[[Task], Table],
    ) -> dict[str, Encoded]:
        began, fresh = time.perf_counter(), []

        def table(task: Task) -> Table:
            fresh.append(task.name)
            return table_of(task)

        found = {
            task.name: self._encoding.prepare(task, split, sources[task.name], partial(table, task))
            for task in tasks
        }
        self._kept += sum(len(part) for task, part in found.items() if task not in fresh)
        self._made += sum(len(found[task]) for task in fresh)
        self._seconds += time.perf_counter() - began
        return found
