"""From an author's dataclasses to protobuf and JSON, without a code generation step.

C{shapes} reads annotations, C{descriptors} makes protobuf descriptors of them, C{binary}, C{fromjson} and C{tojson} write the conversions
as Python functions, C{codec} is what the rest of the framework holds, C{values} and C{prototext} describe it to others.
"""
