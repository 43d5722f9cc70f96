"""The tokens of a run's data: from the cache, or of tables that are read for it."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from mtl_bert.config.settings import Settings
from mtl_bert.data import Source, Table, token_cache
from mtl_bert.data.corpus import refuse, report
from mtl_bert.data.encoded import Encoded
from mtl_bert.runs.factories import make_selections
from mtl_bert.runs.text_model import TextModel
from mtl_bert.tasks import Task
from mtl_bert.utils.logging import bar_wanted

log = logging.getLogger(__name__)


class Tokens:
    """Turns the tables of a run into tokens, and counts what it did.

    Args:
        settings: which rows are wanted, and whether tokens are cached.
        text_model: has the tokenizer.
    """

    def __init__(self, settings: Settings, text_model: TextModel) -> None:
        self._max_bad_share, self._text_model = settings.data.max_bad_share, text_model
        self._selections = make_selections(settings)
        self._seconds, self._made, self._total = 0.0, 0, 0
        limit = settings.trainer.cache_gib * token_cache.GIBI
        cached, bar = settings.trainer.cache, bar_wanted(settings.trainer.enable_progress_bar)
        self._cache = token_cache.Cache(token_cache.directory(), limit) if cached else None
        self._tokenize = replace(text_model.tokenize, bar=bar)

    def of(
        self,
        split: str,
        tasks: Sequence[Task],
        sources: Mapping[str, Source],
        tables: Mapping[str, Table] | None = None,
    ) -> dict[str, Encoded]:
        """The examples of each task that are wanted of a split.

        Args:
            split: train or dev.
            tasks: the tasks, in order.
            sources: where each task's data come from.
            tables: the split's whole tables, checked before; where they are not given, a file is
                read only if its tokens are not in the cache.

        Raises:
            DataError: a file that cannot be read, has too many bad rows, or too few rows.
        """

        def read(task: Task) -> Table:
            table = tables[task.name] if tables else sources[task.name].read(task, split)
            refuse(table, self._max_bad_share)  # before it is encoded, which takes long
            self._made += len(table)
            return table

        began = time.perf_counter()
        found = {
            task.name: self._tokenize.cached(
                self._cache, sources[task.name], task, split, partial(read, task)
            )
            for task in tasks
        }
        self._total += sum(map(len, found.values()))
        self._seconds += time.perf_counter() - began
        if tables is None:
            for whole in found.values():
                report(whole, self._max_bad_share)
        return self._selections[split].of(found)

    def report(self, *splits: Mapping[str, Encoded]) -> None:
        """Log what was done, once nothing can be wrong with the data any more."""
        log.info(
            "encoded %s examples in %.1f s; %s were in the cache",
            *(f"{self._made:,}", self._seconds, f"{self._total - self._made:,}"),
        )
        for split in splits:
            self._text_model.report_cut(split)
