"""The description of a message as a registration carries it."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from microd.kernel import valuetree
from microd.wire.registry_pb2 import Value


def tree(message: Descriptor) -> Value:
    """Describe a message."""
    return valuetree.tree(message, lambda name, type, values: Value(name=name, type=type, values=values))


def streamed(message: Descriptor, called: str) -> Value:
    """Describe one side of a streaming endpoint: under the name that clients know, with the fields that it has."""
    return Value(name=called, type=called, values=tree(message).values)
