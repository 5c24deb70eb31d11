"""Typed records with indexes, over the store: L{microd.framework.model.model.Model} is where to begin."""

from microd.framework.model.conditions import Range, above, at_least, at_most, below, between, starting
from microd.framework.model.indexes import Index
from microd.framework.model.model import Model
from microd.framework.model.pages import Page
from microd.framework.model.records import BlockingRecords, Records

__all__ = [
    "BlockingRecords",
    "Index",
    "Model",
    "Page",
    "Range",
    "Records",
    "above",
    "at_least",
    "at_most",
    "below",
    "between",
    "starting",
]
