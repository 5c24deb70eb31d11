"""A descriptor pool of our own, so that a program may load grpcio's copies of the same messages beside ours."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
