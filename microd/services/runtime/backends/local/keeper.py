"""The parent of one program: takes all of its descendants along when it ends, and when the daemon does.

Run by path as C{python -I -S keeper.py DAEMON_PID FOLDER PROGRAM ARGUMENT...}; imports next to nothing, since it is
started for every process of every service: 20 ms, half of them the bare interpreter's; 4 MB of its own.

Who dies, and what happens then:

- The daemon, even by SIGKILL: the kernel sends C{NOW} to the keeper (PR_SET_PDEATHSIG), which kills everything below.
- The program: the keeper kills whatever it left, in whichever process group or session, since orphans below a
  "child subreaper" become the keeper's own children.
- The keeper, by SIGKILL: the kernel kills the program (PR_SET_PDEATHSIG again). Its descendants are found by the daemon,
  by the mark in their environment (L{microd.services.runtime.backends.local.orphans}); at the latest when it starts again.

Signals to the keeper: C{NOW} kills everything; SIGTERM, SIGINT, SIGHUP and SIGUSR2 go on to the program's process group.

On descriptor 3 it says C{pid N} once the program's process exists, and C{exit N} or C{signal N} after everything is gone.
"""

import ctypes
import os
import signal
import sys

REPORT = 3
NOW = signal.SIGUSR1
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
WATCHED = (signal.SIGCHLD, NOW, *PASSED_ON)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Seconds after which descendants are counted again, should the kernel have hidden one that was just moving house.
_LOOK_AGAIN = 0.05


def main(arguments: list[str]) -> None:
    """Start the program, watch it, end with it."""
    daemon, folder, command = int(arguments[0]), arguments[1], arguments[2:]
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, NOW, 0, 0, 0)
    if os.getppid() != daemon:
        return
    os.setsid()
    os.set_inheritable(REPORT, False)
    me = os.getpid()
    program = os.fork()
    if program == 0:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        become(command, folder, me)
    attempt(os.setpgid, program, program)
    os.write(REPORT, b"pid %d\n" % program)
    status = watch(program)
    end_all(program)
    if os.WIFSIGNALED(status):
        os.write(REPORT, b"signal %d\n" % os.WTERMSIG(status))
    else:
        os.write(REPORT, b"exit %d\n" % os.WEXITSTATUS(status))


def become(command: list[str], folder: str, keeper: int) -> None:
    """Turn into the program; never returns."""
    try:
        os.setpgid(0, 0)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir(folder)
        if os.getppid() == keeper:
            os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
    os._exit(127)


def watch(program: int) -> int:
    """Wait for the program's end, or the order to end it; its wait status."""
    while True:
        got = signal.sigwait(WATCHED)
        if got == NOW:
            return signal.SIGKILL
        if got in PASSED_ON:
            attempt(os.killpg, program, got)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == program:
                return status
            if pid == 0:
                break


def end_all(program: int) -> None:
    """Kill the program's group and every descendant, until there is none."""
    while True:
        attempt(os.killpg, program, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for child in children():
            attempt(os.kill, child, signal.SIGKILL)
        signal.sigtimedwait((signal.SIGCHLD,), _LOOK_AGAIN)


def attempt(call, *arguments) -> None:  # type: ignore[no-untyped-def] # typing would have to be imported
    """Do it, if there still is somebody to do it to."""
    try:  # noqa: SIM105 - contextlib would have to be imported
        call(*arguments)
    except OSError:
        pass


def children() -> list[int]:
    """The processes whose parent we are now."""
    me = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == me:
                found.append(int(name))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
