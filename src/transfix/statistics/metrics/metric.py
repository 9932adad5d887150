"""What a metric is: how the score of a language comes from its rows, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transfix.errors import TransfixError
from transfix.statistics import one_run
from transfix.statistics.bootstrap import Floats, OfSums, Scored
from transfix.statistics.one_run import METRIC, Frame

Columns = Mapping[str, Sequence[Any]]
Meta = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a metric takes from the rows of one language.

    Attributes:
        values: a score from 0 to 1 of each row (n,), or of a corpus metric what is added up over rows (n, k).
        signature: by which others can check that they compute the same; empty if there is none.
    """

    values: Floats
    signature: str = ""


Count = Callable[[Columns, Meta], Counted]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: the mean of a score a row, or a function of what is added up over rows (a corpus metric).

    Scores are from 0 to 1, and higher is better.

    Attributes:
        name: as predictions, `metrics.json` and the CSV write it.
        title: as tables write it.
        kinds: the kinds of task that have it (`choice`); generated answers have what their judge lists.
        reads: the columns of predictions that `count` reads.
        count: (these columns, only of rows with a gold answer; what the predictions say of themselves) -> its values. None:
            the predictions hold the score of each row, or the judge counts.
        of_sums: a corpus metric's score of the sums over any rows, (..., k) -> (...). None: the mean.
    """

    name: str
    title: str
    kinds: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    count: Count | None = None
    of_sums: OfSums | None = None

    def of(self, frame: Frame, meta: Meta, where: str) -> Scored:
        """The rows of one language, for the functions that compute scores, intervals and averages.

        Args:
            frame: the predictions, see `one_run.Frame`.
            meta: what they say of themselves: `classes`, `judge` ...
            where: what to call them in an error (a language code).

        Raises:
            TransfixError: a column is missing, an id occurs twice, or `count` gave other values than it must.
        """
        if self.count is None:
            return one_run.scored(frame, where, METRIC + self.name)
        rows, places = one_run.labelled(frame, where, *self.reads)
        columns = {name: list(frame[name]) for name in self.reads}
        found = self.count({name: [column[place] for place in places] for name, column in columns.items()}, meta)
        values = np.asarray(found.values, dtype=np.float64)
        if len(values) != len(rows) or values.ndim != (1 if self.of_sums is None else 2):
            raise TransfixError(f"{self.name} of {where}: {len(rows)} rows gave values of the shape {values.shape}")
        return replace(rows, values=values, of_sums=self.of_sums, signature=found.signature)
