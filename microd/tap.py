"""From C{twistd -n micro ...} to the daemon's root service; the only module that touches the global reactor."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService
from twisted.logger import FilteringLogObserver, Logger, LogLevel
from twisted.python import usage
from twisted.python.logfile import LogFile

from microd import __version__
from microd.app.settings import TABLE
from microd.app.sources import BadSettings, data_folder, load, unknown_names, unreadable
from microd.app.values import LOG_LEVELS


class Options(usage.Options):
    """The words that may follow C{twistd -n micro}: C{--conf}, and one for each setting."""

    synopsis = "[--conf FILE] [--data DIR] [--only registry,store] [options]"
    longdesc = "Runs the microd cloud platform. Every option is a setting; conf/microd.toml explains them."
    optParameters = [
        ["conf", "c", None, "settings file (TOML)"],
        *([row.option, None, None, f"{row.help} [{row.env}]"] for row in TABLE.values()),
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the words; one that is no option, or lacks its value, ends the process with one sentence."""
        try:
            super().parseOptions(options)
        except usage.UsageError as problem:
            sys.exit(f"microd: command line: {unreadable(str(problem))}")

    def opt_version(self) -> None:
        """Print microd's version and end."""
        print(f"microd {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """Check all that can be checked before anything is started; a mistake ends the process with one sentence."""
        chosen = {row.name: self[row.option] for row in TABLE.values() if self[row.option] is not None}
        try:
            self.settings = load(self["conf"], os.environ, chosen)
        except BadSettings as problem:
            sys.exit(f"microd: {problem}")
        self.data = data_folder(self.settings, os.environ)
        self._leave_no_pid_file()
        self._log_what_matters()

    def _leave_no_pid_file(self) -> None:
        """Have twistd write no C{twistd.pid} where it was not asked to: the data folder's lock does better."""
        parent: Any = getattr(self, "parent", None)
        if parent is not None and parent.get("nodaemon") and parent.get("pidfile") == "twistd.pid":
            parent["pidfile"] = ""

    def _log_what_matters(self) -> None:
        """Have twistd leave out events below C{daemon.log_level}, unless it was told how to log."""
        parent: Any = getattr(self, "parent", None)
        if parent is not None and not parent.get("logger") and not parent.get("syslog"):
            wanted = self.settings.daemon
            _log.update(level=wanted.log_level, form=wanted.log_format, path=parent.get("logfile") or "-")
            # twistd wants the name of a function without arguments.
            parent["logger"] = "microd.tap.log_observer"


#: What the command line said of logging, for L{log_observer}.
_log = {"level": "info", "form": "text", "path": "-"}


def log_observer() -> FilteringLogObserver:
    """Writes the events that matter to the log file, or to stdout."""
    from microd.app.logging import goes_to_journal, observer
    from microd.kernel.logformat import FORMATS

    to_stdout = _log["path"] == "-"
    file: Any = sys.stdout if to_stdout else LogFile.fromFullPath(_log["path"])
    least = LogLevel.levelWithName(LOG_LEVELS[_log["level"]])
    journal = to_stdout and goes_to_journal(os.environ, 1)
    return observer(file, least, FORMATS[_log["form"]], journal=journal)


def makeService(options: Options) -> IService:
    """Build the daemon; twistd starts it."""
    from twisted.internet import reactor  # noqa: TID251 - this module is the one that may

    from microd.app.assembly import assemble
    from microd.app.files import allow_files
    from microd.app.root import EXPLAINED

    for sentence in unknown_names(os.environ):
        Logger("microd.tap").warn("{sentence}", sentence=sentence)
    try:
        daemon = assemble(options.settings, options.data, reactor, os.environ, failed=_exit_with_failure)
    except EXPLAINED as problem:
        sys.exit(f"microd: {problem}")
    allow_files()
    # What was made so far stays for good: a full collection need not look at it again, while everybody waits (20 ms).
    gc.collect()
    gc.freeze()
    return daemon


def _exit_with_failure() -> None:
    """Have the process end with status 1: twistd itself would end with 0 after a failed start."""

    @atexit.register
    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
