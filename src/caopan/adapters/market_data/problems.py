"""Names the rows of a batch that are refused.

Owns the wording of DATA_BAD_ROW and DATA_UNIT refusals: at most ten rows by symbol, day, field and
value, and how many there are. Must never drop or change a row. Tests:
tests/unit/adapters/market_data/test_frame.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import yuan

BAD_ROW = "DATA_BAD_ROW"
UNIT = "DATA_UNIT"
NAMED_ROWS = 10
_IN_UNITS = frozenset({"open", "high", "low", "close", "pre_close", "amount", "cash_per_share"})


@dataclass(slots=True)
class BadRows:
    """Collects refused rows of one batch; `raise_if_any` ends the collection."""

    label: str
    rows: set[tuple[object, object]] = field(default_factory=set["tuple[object, object]"])
    named: list[str] = field(default_factory=list[str])

    def add(
        self, frame: pl.DataFrame, wrong: pl.Expr, column: str, why: str, *, shown: str = ""
    ) -> None:
        """Collect the rows of `frame` where `wrong` holds, blaming the value in `column`.

        `frame` has the columns symbol and day; a null in `wrong` counts as false. `shown` names
        the column with the vendor's own value, where `column` holds it converted.
        """
        bad = frame.filter(wrong.fill_null(value=False))
        self.rows.update(bad.select("symbol", "day").iter_rows())
        room = NAMED_ROWS - len(self.named)
        for symbol, day, value in self._rows(bad.head(room), shown or column):
            if not shown and column in _IN_UNITS and isinstance(value, int):
                value = yuan(value)  # noqa: PLW2901 - as the file has it, not as we keep it
            told = value.isoformat() if isinstance(value, date) else repr(value)
            self.named.append(f"{symbol} {day} {column}={told} ({why})")

    def _rows(self, bad: pl.DataFrame, column: str) -> Iterator[tuple[object, object, object]]:
        for row in bad.iter_rows(named=True):
            yield row["symbol"], row["day"], row[column]

    def raise_if_any(self) -> None:
        """Refuse the batch.

        Raises:
            ConfigInvalid: DATA_BAD_ROW if a row was collected; nothing of the batch is used.
        """
        if not self.rows:
            return
        total = len(self.rows)
        tail = " and more" if len(self.named) == NAMED_ROWS else ""
        count = "1 bad row" if total == 1 else f"{total} bad rows"
        raise ConfigInvalid(
            BAD_ROW,
            f"{self.label}: {count}: {'; '.join(self.named)}{tail}",
            remedy="correct or remove these rows; nothing was loaded",
        )
