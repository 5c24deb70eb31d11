"""A descriptor pool of our own, so that a program may load another copy of the same messages."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
