"""The store beside etcd: point reads, and durable writes, over gRPC, h2load -c8 -m8.

Both keep their files in the same folder's file system, and acknowledge a write only when it is on disk. Ours checks a
token and the namespace with each call; etcd runs without authentication. All writes have the same key and value; each makes
a new version, so each is really written: where nothing changes, SQLite leaves a write and its sync out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benches.alternation import Report, alternate, pairs_from, ratio
from benches.contender import Contender, free_port, h2load, needed, wait_for
from microd.kernel.caller import Account
from microd.services.auth.keys import load_or_make
from microd.services.auth.tokens import Claims, Mint
from microd.wire import store_pb2 as pb

OURS, THEIRS = "microd", "etcd"
KEY = "accounts/ada"
VALUE = b"v" * 100


def bytes_field(number: int, value: bytes) -> bytes:
    """A short field of a protobuf message, so that etcd's contract is not needed here."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


ETCD_PUT = bytes_field(1, KEY.encode()) + bytes_field(2, VALUE)
ETCD_RANGE = bytes_field(1, KEY.encode())
WRITE = pb.WriteRequest(record=pb.Record(key=KEY, value=VALUE)).SerializeToString()
READ = pb.ReadRequest(key=KEY).SerializeToString()


@contextmanager
def etcd(folder: Path) -> Iterator[int]:
    """Run etcd, alone and with its defaults; its port."""
    port, peers = free_port(), free_port()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    command = [needed("etcd", "etcd-server"), "--data-dir", str(folder / "etcd"), "--log-level", "error"]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"default={peer}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            time.sleep(1.0)
            yield port
        finally:
            process.terminate()


def token(data: Path) -> str:
    """An access token of an admin which the door with its key in C{data} takes."""
    account = Account("bench", "user", "micro", "bench", ("admin",))
    return Mint(load_or_make(data)).sign(Claims(account, "access", 0, int(time.time()) + 3600))


def check(port: int, write: tuple[str, bytes], read: tuple[str, bytes], headers: dict[str, str]) -> None:
    """Write and read back once, as grpcio does it, so that what is counted afterwards is known to work."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for path, message in (write, read):
            reply = channel.unary_unary(path)(message, metadata=tuple(headers.items()), timeout=10)
    assert VALUE in reply, f"a wrong answer from port {port}"


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("store")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        headers = {"authorization": f"Bearer {token(folder)}"}
        with Contender.module("benches.store_door", name) as ours, etcd(folder) as theirs:
            writes = {OURS: ("/store.Store/Write", WRITE), THEIRS: ("/etcdserverpb.KV/Put", ETCD_PUT)}
            reads = {OURS: ("/store.Store/Read", READ), THEIRS: ("/etcdserverpb.KV/Range", ETCD_RANGE)}
            ports = {OURS: ours.port, THEIRS: theirs}
            shown = {OURS: headers, THEIRS: {}}
            for who, port in ports.items():
                check(port, writes[who], reads[who], shown[who])
            for what, calls, bar in (("read", reads, 4), ("write", writes, 1)):
                rounds = alternate(
                    pairs,
                    {
                        who: partial(h2load, port, *calls[who], headers=shown[who])
                        for who, port in ports.items()
                    },
                )
                report.figures(f"{what}s_per_s", rounds)
                report.at_least(what, ratio(rounds, OURS, THEIRS), bar)
    report.finish()


if __name__ == "__main__":
    main()
