"""`[report]` of a recipe: the language of the report, and what a machine-hour costs."""

import math
from dataclasses import dataclass

from pipeline.validation import check_ranges
from workflows.report.languages.texts import Language


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """`[report]`: how the report of a run is written. None of it changes the data or the model."""

    language: Language = "en"
    """Language of the report and of the model card beside it: `en` or `zh`. Also `nezha-pipe run --language`."""
    price_per_hour: float = 0.0
    """Price of one machine for one hour. 0: the report shows hours only."""
    currency: str = ""
    """Currency of the price, e.g. `CNY`; required with a price."""

    def __post_init__(self) -> None:
        check_ranges(self, price_per_hour=(0, math.inf))
        if self.price_per_hour and not self.currency.strip():
            raise ValueError('price_per_hour has no currency; add one, e.g. currency = "CNY"')
