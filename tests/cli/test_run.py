"""`micro run`, `micro update` and `micro kill`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from microd.wire import runtime_pb2 as pb

from .conftest import Call, Daemon, Refusal, User

READ, CREATE, UPDATE = "/runtime.Runtime/Read", "/runtime.Runtime/Create", "/runtime.Runtime/Update"
DELETE, LOGS, UPLOAD = "/runtime.Runtime/Delete", "/runtime.Runtime/Logs", "/runtime.Source/Upload"
BUILDING, STARTING, RUNNING, STOPPED, ERROR = 2, 3, 4, 6, 7


def state(status: int, **metadata: str) -> pb.ReadResponse:
    """How greeter is."""
    service = pb.Service(name="greeter", version="latest", status=status, metadata=metadata)
    return pb.ReadResponse(services=[service])


class Runtime:
    """A runtime whose service goes through states: the first is told before the order, the rest after it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.states = [pb.ReadResponse(), state(RUNNING, pid="2")]
        daemon.handlers[READ] = self._read
        daemon.answers(UPLOAD, pb.UploadResponse(id="source://greeter:latest"))
        daemon.answers(CREATE, pb.CreateResponse())
        daemon.answers(UPDATE, pb.UpdateResponse())
        daemon.answers(LOGS, [pb.LogRecord(message=f"line {number}") for number in range(20)])

    def _read(self, call: Call) -> pb.ReadResponse:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    @property
    def created(self) -> pb.CreateRequest:
        """The order, as it came."""
        return pb.CreateRequest.FromString(self._daemon.asked(CREATE)[-1].body)


@pytest.fixture
def runtime(daemon: Daemon) -> Runtime:
    """A runtime where everything succeeds."""
    return Runtime(daemon)


@pytest.fixture
def greeter(tmp_path: Path) -> str:
    """A folder with a service."""
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "main.py").write_text("print('hello')\n")
    return str(folder)


def uploaded(body: bytes) -> list[str]:
    """The names in the tar that was uploaded; the fake joins messages with a zero byte."""
    messages = [pb.UploadRequest.FromString(part) for part in _parts(body)]
    with tarfile.open(fileobj=io.BytesIO(b"".join(message.data for message in messages))) as tar:
        return tar.getnames()


def _parts(body: bytes) -> list[bytes]:
    """Undo the joining: field 1 is a name and a version, field 2 is data, each length-delimited."""
    parts, place = [], 0
    while place < len(body):
        start = place
        place += 1
        length = shift = 0
        while True:
            octet = body[place]
            place += 1
            length |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                break
        place += length
        parts.append(body[start:place])
        place += 1
    return parts


def test_run(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """The folder is uploaded under its name, ordered from there, and waited for; stdout stays empty."""
    got = user.micro("run", greeter)
    assert (got.code, got.out) == (0, "")
    assert got.err == "greeter is running. See what it can do: `micro greeter --help`.\n"
    (upload,) = daemon.asked(UPLOAD)
    assert pb.UploadRequest.FromString(_parts(upload.body)[0]).service == pb.Service(
        name="greeter", version="latest"
    )
    assert uploaded(upload.body) == ["main.py"]
    service = runtime.created.resource.service
    assert (service.name, service.version, service.source) == ("greeter", "latest", "source://greeter:latest")
    assert service.metadata["source"] == greeter
    assert runtime.created.options.namespace == "micro"


def test_options(user: User, runtime: Runtime, greeter: str) -> None:
    """What is given for the service goes into the order; a value may hold = and a comma."""
    user.micro(
        *("run", greeter, "--name=other", "--version=v2", "--namespace=foo", "-i", "3", "--type=worker"),
        *("--command", "python 'my app.py'", "--args=-x 1", "--env_vars", "A=b=c,D=1,2", "--env-vars=E=f"),
        *("--metadata", "team=a=b"),
    )
    service, options = runtime.created.resource.service, runtime.created.options
    assert (service.name, service.version, service.metadata["team"]) == ("other", "v2", "a=b")
    assert list(options.command) == ["python", "my app.py"]
    assert list(options.args) == ["-x", "1"]
    assert list(options.env) == ["A=b=c", "D=1,2", "E=f"]
    assert (options.namespace, options.instances, options.type) == ("foo", 3, "worker")


def test_replaces(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """What runs already is replaced, and the new process is waited for, not found in the old one."""
    old = state(RUNNING, pid="1")
    runtime.states = [old, old, state(STARTING), state(RUNNING, pid="2")]
    assert user.micro("run", greeter).code == 0
    assert runtime.created.options.force
    assert len(daemon.asked(READ)) == 4


def test_file(user: User, runtime: Runtime, greeter: str) -> None:
    """A file in the folder may be named; it is what is run."""
    assert user.micro("run", f"{greeter}/main.py").code == 0
    assert runtime.created.options.entrypoint == "main.py"
    assert runtime.created.resource.service.name == "greeter"


def test_here(user: User, runtime: Runtime, greeter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has a name."""
    monkeypatch.chdir(greeter)
    user.micro("run", ".")
    assert runtime.created.resource.service.name == "greeter"


def test_progress(user: User, runtime: Runtime, greeter: str) -> None:
    """What the server is doing is told once each on stderr."""
    runtime.states = [
        pb.ReadResponse(),
        *[state(BUILDING)] * 3,
        *[state(STARTING)] * 3,
        state(RUNNING, pid="2"),
    ]
    assert user.micro("run", greeter).err.splitlines()[:2] == ["greeter is building", "greeter is starting"]


def test_json(user: User, runtime: Runtime, greeter: str) -> None:
    """With --json the answer is the service."""
    got = user.micro("run", greeter, "--json")
    assert got.err == ""
    assert got.json == {
        "name": "greeter",
        "version": "latest",
        "status": "running",
        "metadata": {"pid": "2"},
    }


def test_crash(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """A service that does not come up is told with the runtime's reason and its last twenty lines; exit code 1."""
    runtime.states = [pb.ReadResponse(), state(STARTING), state(ERROR, error="exited with code 3")]
    got = user.micro("run", greeter)
    assert got.code == 1
    lines = got.err.splitlines()
    assert lines[-1] == "Service greeter is not running: exited with code 3. See `micro logs greeter`."
    assert lines[-21:-1] == [f"line {number}" for number in range(20)]
    assert pb.LogsRequest.FromString(daemon.asked(LOGS)[0].body).count == 20


def test_reason(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """The reason is one line, and only lines since the order are shown with it; with none, the last of all."""
    runtime.states = [pb.ReadResponse(), state(ERROR, error="exited with code 3\nTraceback\nValueError: oh")]
    since: list[int] = []

    def logs(call: Call) -> list[pb.LogRecord]:
        since.append(pb.LogsRequest.FromString(call.body).since)
        return [] if since[-1] else [pb.LogRecord(message="an old line")]

    daemon.handlers[LOGS] = logs
    got = user.micro("run", greeter)
    assert got.err.splitlines() == [
        "an old line",
        "Service greeter is not running: exited with code 3. See `micro logs greeter`.",
    ]
    assert since == [int(user.now), 0]


def test_ended(user: User, runtime: Runtime, greeter: str) -> None:
    """A program that ends without having registered is not running."""
    runtime.states = [pb.ReadResponse(), state(STOPPED)]
    got = user.micro("run", greeter)
    assert (got.code, got.err.splitlines()[-1]) == (
        1,
        "Service greeter is not running: it ended. See `micro logs greeter`.",
    )


def test_never_registers(user: User, runtime: Runtime, greeter: str) -> None:
    """Patience ends after the time given, which does not run while the server builds."""
    runtime.states = [pb.ReadResponse(), *[state(BUILDING)] * 100, state(STARTING)]
    began = user.now
    got = user.micro("run", greeter, "--timeout=5s")
    assert got.code == 1
    assert got.err.splitlines()[-1] == (
        "Service greeter has not registered within 5 s, and is still starting. See `micro logs greeter`."
    )
    assert user.now - began == pytest.approx(100 * 0.2 + 5, abs=0.5)


def test_kept(user: User, runtime: Runtime, greeter: str) -> None:
    """When the runtime kept what ran before, that is a failure."""
    old = state(RUNNING, pid="1")
    runtime.states = [old, state(STARTING), state(RUNNING, pid="1", error="the update was given up")]
    got = user.micro("run", greeter)
    assert got.code == 1
    assert "Service greeter was not replaced: the update was given up" in got.err


def test_interrupted(user: User, runtime: Runtime, greeter: str) -> None:
    """Ctrl-C ends the waiting, not the service, and says so; exit code 130."""

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    runtime.states = [pb.ReadResponse(), state(STARTING)]
    user.naps = [ctrl_c]
    got = user.micro("run", greeter)
    assert got.code == 130
    assert (
        got.err.splitlines()[-1] == "Stopped waiting; greeter goes on starting. See `micro status greeter`."
    )


def test_no_wait(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """Nobody has to wait."""
    runtime.states = [pb.ReadResponse(), state(STARTING)]
    assert user.micro("run", greeter, "--no-wait").code == 0
    assert len(daemon.asked(READ)) == 1


def test_no_program(user: User, daemon: Daemon, greeter: str) -> None:
    """A file which cannot run is refused here, and nothing that lies beside it goes to the server."""
    file = Path(greeter, "notes.txt")
    file.write_text("not a program")
    ended = user.micro("run", str(file))
    assert (ended.code, ended.err) == (1, f"{file} is neither Python (.py) nor executable\n")
    assert not daemon.calls


def test_no_folder(user: User, daemon: Daemon) -> None:
    """A folder that is not there is named before anything is sent."""
    got = user.micro("run", "nope")
    assert (got.code, got.err) == (1, "There is no folder nope here. Make one with `micro new nope`.\n")
    assert daemon.calls == []


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--metadata=x", "Invalid metadata string, must be of form foo=bar"),
        ("--metadata=source=x", "Invalid metadata string, 'source' is a reserved key"),
        ("--env_vars=x", "--env-vars wants NAME=VALUE, not x"),
        ("--command='x", '"\'x" cannot be parted into words'),
    ],
)
def test_mistakes(user: User, daemon: Daemon, greeter: str, flag: str, told: str) -> None:
    """A mistake in a flag is told before anything is sent."""
    got = user.micro("run", greeter, flag)
    assert got.code == 1
    assert got.err.startswith(told)
    assert daemon.calls == []


@pytest.mark.parametrize("command", ["run", "update", "kill"])
def test_alone(user: User, command: str) -> None:
    """Without an argument there is help, and nothing has failed."""
    got = user.micro(command)
    assert (got.code, got.out[: len(command) + 9]) == (0, f"micro {command} - ")


def test_sent_again(user: User, daemon: Daemon, runtime: Runtime, greeter: str, refusal: Refusal) -> None:
    """An upload that was refused for its token is sent again, from its beginning."""
    from microd.wire import auth_pb2

    user.has_a_daemon()
    token = auth_pb2.Token(access_token="t", expiry=2_000_000_000)
    daemon.answers("/auth.Auth/Token", auth_pb2.TokenResponse(token=token))
    bodies: list[bytes] = []

    def upload(call: Call) -> pb.UploadResponse:
        bodies.append(call.body)
        if len(bodies) == 1:
            raise refusal(401, "an account is required")
        return pb.UploadResponse(id="source://greeter:latest")

    daemon.handlers[UPLOAD] = upload
    assert user.micro("run", greeter).code == 0
    assert bodies[0] == bodies[1]


def test_watch(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """While watched, a folder is run anew at each change, and a failure does not end the watching."""

    def change() -> None:
        (Path(greeter) / "main.py").write_text("broken, and longer")
        runtime.states = [state(RUNNING, pid="2"), state(ERROR, error="exited with code 1")]

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    user.naps = [lambda: None, change, lambda: None, ctrl_c]
    got = user.micro("run", greeter, "--watch")
    assert got.code == 0
    assert len(daemon.asked(CREATE)) == 2
    assert "Service greeter is not running: exited with code 1." in got.err


def test_update(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """An update brings the folder's present content, and waits for its process."""
    runtime.states = [state(RUNNING, pid="1"), state(STARTING), state(RUNNING, pid="2")]
    assert user.micro("update", greeter).code == 0
    sent = pb.UpdateRequest.FromString(daemon.asked(UPDATE)[0].body)
    assert (sent.resource.service.name, sent.resource.service.source) == (
        "greeter",
        "source://greeter:latest",
    )
    assert daemon.asked(CREATE) == []


def test_update_by_name(user: User, daemon: Daemon, runtime: Runtime, greeter: str) -> None:
    """A service's name stands for the folder it was run from."""
    runtime.states = [state(RUNNING, pid="1", source=greeter)] * 2 + [state(RUNNING, pid="2")]
    assert user.micro("update", "greeter").code == 0
    assert uploaded(daemon.asked(UPLOAD)[0].body) == ["main.py"]


@pytest.fixture
def killable(daemon: Daemon, refusal: Refusal) -> None:
    """A runtime in which only greeter and other run."""

    def delete(call: Call) -> pb.DeleteResponse:
        service = pb.DeleteRequest.FromString(call.body).resource.service
        if service.name not in ("greeter", "other"):
            raise refusal(404, f"the service {service.name} was not found")
        return pb.DeleteResponse()

    daemon.handlers[DELETE] = delete


def deleted(daemon: Daemon) -> list[str]:
    """What was to be deleted."""
    services = [pb.DeleteRequest.FromString(call.body).resource.service for call in daemon.asked(DELETE)]
    return [f"{service.name}@{service.version}" for service in services]


def test_kill(user: User, daemon: Daemon, killable: None) -> None:
    """Several services are killed at once, silently; a version is told with @."""
    got = user.micro("kill", "greeter", "other@v2")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert deleted(daemon) == ["greeter@latest", "other@v2"]


def test_kill_folder(
    user: User, daemon: Daemon, killable: None, greeter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder stands for the service of its name."""
    monkeypatch.chdir(greeter)
    user.micro("kill", ".")
    user.micro("kill", "../greeter/")
    assert deleted(daemon) == ["greeter@latest"] * 2


def test_kill_unknown(user: User, daemon: Daemon, killable: None) -> None:
    """One that is not there is told, with exit code 127, and the others are killed all the same."""
    got = user.micro("kill", "nope", "greeter")
    assert (got.code, got.err) == (127, 'Service "nope" not found. See `micro status`.\n')
    assert deleted(daemon) == ["nope@latest", "greeter@latest"]
