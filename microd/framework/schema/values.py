"""The description of a message as a registration carries it."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from microd.kernel import valuetree
from microd.wire.registry_pb2 import Value

#: What the two sides of a streaming endpoint are described as, whatever they are.
STREAM = (Value(name="Context", type="Context"), Value(name="Stream", type="Stream"))


def tree(message: Descriptor) -> Value:
    """Describe a message."""
    return valuetree.tree(message, lambda name, type, values: Value(name=name, type=type, values=values))
