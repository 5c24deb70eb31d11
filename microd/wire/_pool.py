"""A descriptor pool of our own.

The reference's packages have names such as C{auth} and C{store}; in the process-wide pool they would clash with the
messages of a service's author.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
