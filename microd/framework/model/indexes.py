"""What an author declares: by which fields records are found, and in which order."""

from __future__ import annotations

from microd.framework.schema.shapes import SchemaError

#: How many fields an index may have, the one it orders by included: their keys must fit into a key of the store.
MOST_FIELDS = 3


class Index:
    """Finds records by their fields::

        Index("email", unique=True)                            # get(email=...), and no two are the same
        Index("age")                                           # list(age=at_least(18)), list(order="age")
        Index("team", order_by="created", descending=True)     # list(team="red"): the newest first

    An index answers who gives values for its first fields, a range for the next one, and who wants the order of that one. It
    answers in both directions.

    @ivar fields: the fields that are found by, and then the one that is ordered by.
    @ivar unique: no two records have the same values in all of them; C{None} in any of them is the same as nothing.
    @ivar descending: whoever does not say which way gets the greatest first.
    """

    __slots__ = ("descending", "fields", "unique")

    def __init__(
        self, *fields: str, order_by: str = "", unique: bool = False, descending: bool = False
    ) -> None:
        every = (*fields, order_by) if order_by else fields
        if not every or not all(isinstance(field, str) and field for field in every):
            raise SchemaError('an index is of fields, by their names: Index("email")')
        if len(set(every)) < len(every):
            raise SchemaError(f"the index {'+'.join(every)} has a field twice")
        if len(every) > MOST_FIELDS:
            raise SchemaError(f"the index {'+'.join(every)} has more than {MOST_FIELDS} fields")
        if unique and order_by:
            raise SchemaError(
                f"the index {'+'.join(every)} is unique, so there is nothing to order: drop order_by"
            )
        self.fields = every
        self.unique = unique
        self.descending = descending

    @property
    def name(self) -> str:
        """The fields, joined by C{+}."""
        return "+".join(self.fields)

    def __repr__(self) -> str:
        return f"Index({', '.join(map(repr, self.fields))}{', unique=True' if self.unique else ''})"
