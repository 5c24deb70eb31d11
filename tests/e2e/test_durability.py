"""Writers count what was acknowledged while the daemon is killed with C{kill -9}, fifty times; nothing of it may be missing."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from microd.testing.nursery import Nursery
from microd.testing.platform import LIMIT, Platform
from microd.wire import auth_pb2, config_pb2, store_pb2

pytestmark = pytest.mark.e2e

ROUNDS = 50
#: In each of so many rounds one daemon more is killed while it starts.
STARTS = 5
STORE_LANES = 3


class Wire:
    """A connection to the running daemon, as any gRPC client has one."""

    def __init__(self, platform: Platform, token: str = "") -> None:
        self._channel = grpc.insecure_channel(platform.door("proxy"))
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def call(self, path: str, request: Any, reply: Any) -> Any:
        """Ask, and wait for the answer."""
        method = self._channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        return method(request, metadata=self._metadata, timeout=LIMIT)

    def send(self, path: str, requests: Iterator[Any], reply: Any) -> Any:
        """Send several messages, and wait for the answer."""
        method = self._channel.stream_unary(
            path,
            request_serializer=lambda each: each.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return method(requests, metadata=self._metadata, timeout=LIMIT)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


class Acknowledged:
    """What the daemon said it has kept.

    @ivar store: values by key.
    @ivar blobs: digests by key.
    @ivar counts: of records and settings that are written over and over, the last number.
    """

    def __init__(self) -> None:
        self.store: dict[str, bytes] = {}
        self.blobs: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.store) + len(self.blobs) + sum(self.counts.values())


def write_store(wire: Wire, lane: str, number: int, kept: Acknowledged) -> None:
    """One record of its own, and one in the place of that before."""
    key, value = f"{lane}-{number}", f"{lane}-{number} ".encode() * (number % 50 + 1)
    record = store_pb2.Record(key=key, value=value)
    wire.call("/store.Store/Write", store_pb2.WriteRequest(record=record), store_pb2.WriteResponse)
    kept.store[key] = value
    record = store_pb2.Record(key=f"count-{lane}", value=b"%d" % number)
    wire.call("/store.Store/Write", store_pb2.WriteRequest(record=record), store_pb2.WriteResponse)
    kept.counts[f"count-{lane}"] = number


def write_batch(wire: Wire, lane: str, number: int, kept: Acknowledged) -> None:
    """Two records which are there together or not at all."""
    records = [
        store_pb2.Record(key=f"{side}-{lane}-{number}", value=b"v" * 3000) for side in ("left", "right")
    ]
    acts = [store_pb2.Act(put=record, if_version=0) for record in records]
    wire.call("/store.Store/Batch", store_pb2.BatchRequest(acts=acts), store_pb2.BatchResponse)
    kept.store.update({record.key: record.value for record in records})


def write_setting(wire: Wire, lane: str, number: int, kept: Acknowledged) -> None:
    """A setting in the place of that before."""
    value = config_pb2.Value(data=json.dumps(number))
    request = config_pb2.SetRequest(path=f"count.{lane}", value=value)
    wire.call("/config.Config/Set", request, config_pb2.SetResponse)
    kept.counts[f"count.{lane}"] = number


def write_blob(wire: Wire, lane: str, number: int, kept: Acknowledged) -> None:
    """A blob in several messages."""
    pieces = [f"{lane}-{number}-{piece} ".encode() * 3000 for piece in range(number % 4 + 1)]
    options = store_pb2.BlobOptions(namespace="micro")
    requests = (
        store_pb2.BlobWriteRequest(key=f"{lane}-{number}", options=options, blob=piece) for piece in pieces
    )
    wire.send("/store.BlobStore/Write", requests, store_pb2.BlobWriteResponse)
    kept.blobs[f"{lane}-{number}"] = hashlib.sha256(b"".join(pieces)).hexdigest()


WRITERS: list[Callable[[Wire, str, int, Acknowledged], None]] = [
    *[write_store] * STORE_LANES,
    write_batch,
    write_setting,
    write_blob,
]


class Lane(threading.Thread):
    """Writes one thing after the other, until the daemon is gone."""

    def __init__(self, wire: Wire, write: Callable[..., None], name: str, kept: Acknowledged) -> None:
        super().__init__(daemon=True)
        self._work = (wire, write, name, kept)
        self.refusal = ""
        self.start()

    def run(self) -> None:
        wire, write, name, kept = self._work
        try:
            for number in range(1, 1_000_000):
                write(wire, name, number, kept)
        except grpc.RpcError as ended:
            if ended.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                self.refusal = f"{name}: {ended.code()}: {ended.details()}"


def records(wire: Wire, prefix: str) -> dict[str, bytes]:
    """All records whose keys begin so, page by page."""
    found: dict[str, bytes] = {}
    options = store_pb2.ReadOptions(key_prefix=prefix, limit=5000, partial=True)
    while True:
        page = wire.call("/store.Store/Read", store_pb2.ReadRequest(options=options), store_pb2.ReadResponse)
        found.update({record.key: record.value for record in page.records})
        if not page.next:
            return found
        options.after = page.next


def blobs(wire: Wire, prefix: str) -> dict[str, str]:
    """The digests of all blobs whose keys begin so, page by page."""
    found: dict[str, str] = {}
    options = store_pb2.BlobListOptions(namespace="micro", prefix=prefix, limit=1000)
    while True:
        request = store_pb2.BlobListRequest(options=options)
        page = wire.call("/store.BlobStore/List", request, store_pb2.BlobListResponse)
        found.update({blob.key: blob.digest for blob in page.blobs})
        if not page.next:
            return found
        options.after = page.next


def check(wire: Wire, name: str, kept: Acknowledged) -> None:
    """What was acknowledged under a name is there, and batches are whole."""
    stored: dict[str, bytes] = {}
    for prefix in (f"{name}-", f"left-{name}-", f"right-{name}-", f"count-{name}-"):
        stored |= records(wire, prefix)
    for key, value in kept.store.items():
        assert stored.get(key) == value, f"the record {key} was acknowledged, and is lost"
    left = {key.partition("-")[2] for key in stored if key.startswith("left-")}
    right = {key.partition("-")[2] for key in stored if key.startswith("right-")}
    assert left == right, "half a batch was kept"
    there = blobs(wire, f"{name}-")
    for key, digest in kept.blobs.items():
        assert there.get(key) == digest, f"the blob {key} was acknowledged, and is lost"
    for key, number in kept.counts.items():
        if key.startswith("count-"):
            found = int(stored[key])
        else:
            request = config_pb2.GetRequest(path=key)
            answer = wire.call("/config.Config/Get", request, config_pb2.GetResponse)
            found = int(answer.value.data)
        assert found >= number, f"{key} was {number}, and is {found}"


def access(platform: Platform) -> str:
    """A token that outlasts all daemons; they know it again, since their key is kept."""
    wire = Wire(platform)
    secret = (platform.data / "admin-secret").read_text().strip()
    request = auth_pb2.TokenRequest(id="admin", secret=secret, token_expiry=3600)
    answer = wire.call("/auth.Auth/Token", request, auth_pb2.TokenResponse)
    wire.close()
    token = answer.token.access_token
    assert isinstance(token, str)
    return token


def test_killed_at_work(tmp_path: Path) -> None:
    """Nothing that was acknowledged is missing: records, batches, blobs and settings, however often the daemon is killed."""
    seed = int(os.environ.get("MICROD_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"to see the same again: MICROD_TEST_SEED={seed}")
    chance = random.Random(seed)
    platform = Platform(tmp_path / "home")
    nursery = Nursery(platform, "--only", "store,config,auth,registry,proxy")
    history: list[tuple[str, Acknowledged]] = []
    token = ""
    try:
        for number in range(ROUNDS):
            pid = nursery.start()
            nursery.ready()
            token = token or access(platform)
            wire = Wire(platform, token)
            for name, before in history[-1:]:
                check(wire, name, before)
            name, kept = f"r{number}", Acknowledged()
            lanes = [Lane(wire, write, f"{name}-{lane}", kept) for lane, write in enumerate(WRITERS)]
            # At a moment which nobody chose.
            time.sleep(chance.uniform(0.0, 0.25))
            nursery.kill(pid)
            for lane in lanes:
                lane.join(LIMIT)
                assert not lane.is_alive()
                assert not lane.refusal, lane.refusal
            wire.close()
            history.append((name, kept))
            if number % STARTS == 0:
                pid = nursery.start()
                time.sleep(chance.uniform(0.0, 0.4))
                nursery.kill(pid)
        pid = nursery.start()
        nursery.ready()
        wire = Wire(platform, token)
        for name, kept in history:
            check(wire, name, kept)
        wire.close()
        nursery.kill(pid)
    finally:
        nursery.close()
        platform.close()
    total = sum(len(kept) for _, kept in history)
    print(f"{total} writes were acknowledged")
    assert sum(1 for _, kept in history if len(kept) > 10) > ROUNDS // 2, (
        "the daemon was killed before it did anything"
    )
