"""Messages to JSON and back, with protobuf's own JSON as the oracle."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microd.kernel.errors import BadRequest
from microd.kernel.protojson import dump, parse
from microd.wire import registry_pb2, runtime_pb2, store_pb2

Kind = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "double": Kind.TYPE_DOUBLE,
    "single": Kind.TYPE_FLOAT,
    "i32": Kind.TYPE_INT32,
    "i64": Kind.TYPE_INT64,
    "u32": Kind.TYPE_UINT32,
    "u64": Kind.TYPE_UINT64,
    "s32": Kind.TYPE_SINT32,
    "s64": Kind.TYPE_SINT64,
    "f32": Kind.TYPE_FIXED32,
    "f64": Kind.TYPE_FIXED64,
    "flag": Kind.TYPE_BOOL,
    "some_text": Kind.TYPE_STRING,
    "raw": Kind.TYPE_BYTES,
}


def _everything() -> Any:
    """A message type with a field of every kind, some of them repeated, and itself inside."""
    file = descriptor_pb2.FileDescriptorProto(name="everything.proto", package="t", syntax="proto3")
    color = file.enum_type.add(name="Color")
    color.value.add(name="RED", number=0)
    color.value.add(name="BLUE", number=3)
    message = file.message_type.add(name="All")
    number = 0
    for name, kind in SCALARS.items():
        for label, prefix in ((Kind.LABEL_OPTIONAL, ""), (Kind.LABEL_REPEATED, "many_")):
            number += 1
            message.field.add(name=prefix + name, number=number, type=kind, label=label)
    message.field.add(name="color", number=50, type=Kind.TYPE_ENUM, type_name=".t.Color", label=1)
    message.field.add(name="inner", number=51, type=Kind.TYPE_MESSAGE, type_name=".t.All", label=1)
    message.field.add(name="inners", number=52, type=Kind.TYPE_MESSAGE, type_name=".t.All", label=3)
    for index, (key, value) in enumerate(
        [("some_text", "i64"), ("i32", "some_text"), ("flag", "raw"), ("u64", "double")]
    ):
        entry = message.nested_type.add(name=f"By{index}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=SCALARS[key], label=1)
        entry.field.add(name="value", number=2, type=SCALARS[value], label=1)
        message.field.add(
            name=f"by{index}",
            number=60 + index,
            type=Kind.TYPE_MESSAGE,
            label=3,
            type_name=f".t.All.By{index}Entry",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.All"))


All = _everything()


def _values(kind: int) -> st.SearchStrategy[Any]:
    if kind == Kind.TYPE_DOUBLE:
        return st.floats(allow_nan=False)
    if kind == Kind.TYPE_FLOAT:
        return st.floats(width=32, allow_nan=False)
    if kind == Kind.TYPE_BOOL:
        return st.booleans()
    if kind == Kind.TYPE_STRING:
        return st.text(st.characters(exclude_categories=["Cs"]))
    if kind == Kind.TYPE_BYTES:
        return st.binary()
    name = next(name for name, each in SCALARS.items() if each == kind)
    bits = 32 if "32" in name else 64
    signed = name[0] in "is"
    return st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)


def _messages() -> st.SearchStrategy[Any]:
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, kind in SCALARS.items():
        fields[name] = _values(kind)
        fields["many_" + name] = st.lists(_values(kind), max_size=3)
    text, number = _values(Kind.TYPE_STRING), _values(Kind.TYPE_INT32)
    fields["color"] = st.sampled_from([0, 3])
    fields["by0"] = st.dictionaries(text, _values(Kind.TYPE_INT64), max_size=2)
    fields["by1"] = st.dictionaries(number, text, max_size=2)
    fields["by2"] = st.dictionaries(st.booleans(), st.binary(), max_size=2)
    fields["by3"] = st.dictionaries(_values(Kind.TYPE_UINT64), _values(Kind.TYPE_DOUBLE), max_size=2)
    flat = st.fixed_dictionaries({}, optional=fields).map(lambda given: All(**given))
    return st.builds(_nested, flat, st.none() | flat, st.lists(flat, max_size=2))


def _nested(outer: Any, inner: Any, inners: list[Any]) -> Any:
    message = All(inner=inner, inners=inners)
    message.MergeFrom(outer)
    return message


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_messages())
def test_as_protobuf_does(message: Any) -> None:
    """What we write, protobuf's own reader reads; what its writer writes, in both spellings of names, we read."""
    assert json_format.Parse(dump(message), All()) == message
    for original in (True, False):
        text = json_format.MessageToJson(
            message, preserving_proto_field_name=original, always_print_fields_with_no_presence=True
        )
        assert parse(text.encode(), All) == message


def test_the_same_as_the_reference() -> None:
    """Every field is there, names are the contract's, 64-bit numbers are strings, bytes base64, no white space."""
    answer = store_pb2.ReadResponse(records=[store_pb2.Record(key="foo", value=b"bar")])
    assert dump(answer) == (
        b'{"records":[{"key":"foo","value":"YmFy","expiry":"0","metadata":{},"version":"0"}],"next":""}'
    )


def test_absent() -> None:
    """An absent message is null, as is a field which knows whether it is there; an empty message is there."""
    assert orjson.loads(dump(store_pb2.WriteRequest())) == {"record": None, "options": None}
    assert orjson.loads(dump(store_pb2.WriteRequest(options=store_pb2.WriteOptions()))) == {
        "record": None,
        "options": {"database": "", "table": "", "if_version": None},
    }


def test_enum() -> None:
    """An enum is its value's name; an unknown number stays one."""
    assert orjson.loads(dump(registry_pb2.Event(type=2)))["type"] == "Update"  # type: ignore[arg-type]
    assert parse(b'{"type":"Update"}', registry_pb2.Event).type == 2
    assert parse(b'{"type":1}', registry_pb2.Event).type == 1
    assert orjson.loads(dump(All(color=7)))["color"] == 7


def test_not_finite() -> None:
    """Numbers which JSON has no words for are strings."""
    message = All(double=float("inf"), many_double=[float("-inf")], single=float("nan"))
    shown = orjson.loads(dump(message))
    assert (shown["double"], shown["many_double"], shown["single"]) == ("Infinity", ["-Infinity"], "NaN")
    assert dump(parse(dump(message), All)) == dump(message)


def test_single_precision() -> None:
    """A number of single precision is as short as it was written."""
    assert orjson.loads(dump(All(single=0.1)))["single"] == 0.1


def test_empty_body() -> None:
    """No body is an empty message, and so is null for a field the field's default."""
    assert parse(b"", store_pb2.ReadRequest) == store_pb2.ReadRequest()
    assert parse(b'{"key":null,"options":null}', store_pb2.ReadRequest) == store_pb2.ReadRequest()


def test_unknown_fields() -> None:
    """Fields which the contract does not have are ignored, at every depth."""
    body = b'{"key":"k","nope":{"a":[1]},"options":{"database":"d","nope":1}}'
    want = store_pb2.ReadRequest(key="k", options=store_pb2.ReadOptions(database="d"))
    assert parse(body, store_pb2.ReadRequest) == want


@pytest.mark.parametrize(
    ("body", "message_type", "says"),
    [
        (b"{", store_pb2.ReadRequest, "the body is not JSON"),
        (b"[]", store_pb2.ReadRequest, "must be a JSON object"),
        (b'{"key":7}', store_pb2.ReadRequest, r"^key: a string is wanted, not 7$"),
        (
            b'{"options":{"limit":"x"}}',
            store_pb2.ReadRequest,
            r"^options\.limit: a whole number is wanted, not \"x\"$",
        ),
        (b'{"options":{"limit":-1}}', store_pb2.ReadRequest, r"^options\.limit: a whole number from 0 to"),
        (b'{"options":{"limit":1.5}}', store_pb2.ReadRequest, r"^options\.limit: a whole number is wanted"),
        (b'{"options":{"limit":true}}', store_pb2.ReadRequest, r"^options\.limit: a whole number is wanted"),
        (b'{"options":[]}', store_pb2.ReadRequest, r"^options: an object is wanted, not \[\]$"),
        (b'{"options":{"prefix":1}}', store_pb2.ReadRequest, r"^options\.prefix: true or false is wanted"),
        (
            b'{"record":{"value":"%"}}',
            store_pb2.WriteRequest,
            r"^record\.value: a string in base64 is wanted",
        ),
        (
            b'{"record":{"metadata":{"a":{"type":1}}}}',
            store_pb2.WriteRequest,
            r"^record\.metadata\.a\.type: ",
        ),
        (b'{"records":[{},{"key":[]}]}', store_pb2.ReadResponse, r"^records\[1\]\.key: a string is wanted"),
        (b'{"records":[null]}', store_pb2.ReadResponse, r"^records\[0\]: an object is wanted, not null$"),
        (b'{"records":{}}', store_pb2.ReadResponse, r"^records: a list is wanted"),
        (b'{"type":"Nope"}', registry_pb2.Event, r"^type: one of Create, Delete, Update is wanted"),
        (b'{"double":"x"}', All, r"^double: a number is wanted"),
        (b'{"by1":{"x":"y"}}', All, r"^by1: a whole number is wanted"),
        (b'{"key":"' + b"x" * 100 + b'"', store_pb2.ReadRequest, "not JSON"),
        (b'{"i32":3000000000}', All, r"^i32: a whole number from"),
    ],
)
def test_refused(body: bytes, message_type: Any, says: str) -> None:
    """A value of the wrong type is a bad request which names the field, and the way to it."""
    with pytest.raises(BadRequest, match=says):
        parse(body, message_type)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (b'"5"', 5),
        (b"5", 5),
        (b"5.0", 5),
        (b'"18446744073709551615"', 2**64 - 1),
        (b"18446744073709551615", 2**64 - 1),
    ],
)
def test_integers(given: bytes, want: int) -> None:
    """A whole number may be a number or a string."""
    assert parse(b'{"u64":' + given + b"}", All).u64 == want


@pytest.mark.parametrize("given", ["_-8=", "_-8", "/+8=", "/+8"])
def test_base64(given: str) -> None:
    """Bytes come in either alphabet, padded or not."""
    assert parse(orjson.dumps({"raw": given}), All).raw == b"\xff\xef"


@pytest.mark.parametrize("depth", [90, 110, 900, 100_000])
def test_depth(depth: int) -> None:
    """A message nested too deep is refused, however deep."""
    body = b'{"inner":' * depth + b"{}" + b"}" * depth
    if depth < 100:
        assert parse(body, All).HasField("inner")
        return
    with pytest.raises(BadRequest):
        parse(body, All)


def test_a_real_one() -> None:
    """The runtime's messages survive the way there and back."""
    for name, descriptor in runtime_pb2.DESCRIPTOR.message_types_by_name.items():
        empty = message_factory.GetMessageClass(descriptor)()
        assert parse(dump(empty), type(empty)) == empty, name
