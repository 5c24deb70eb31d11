"""How a command says no: one sentence, the command that helps, an exit code."""

from __future__ import annotations

#: Exit codes (spec micro-v3-cli 1.1).
FAILED = 1
NOT_AUTHORIZED = 2
MALFORMED = 3
UNREACHABLE = 4
UNKNOWN_SERVICE = 5
REFUSED = 127
OTHER = 128
INTERRUPTED = 130


class CommandFailed(Exception):
    """The command could not do what it was asked.

    @ivar sentence: what is wrong.
    @ivar remedy: a sentence that names the command which helps; may be empty.
    @ivar code: the exit code of the process.
    @ivar passing: whether it may be otherwise a moment later: nobody answered, or somebody who was about to stop.
    """

    def __init__(self, sentence: str, code: int = FAILED, *, remedy: str = "", passing: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = _one_line(sentence)
        self.remedy = remedy
        self.code = code
        self.passing = passing

    @property
    def text(self) -> str:
        """The line for a person."""
        if not self.remedy:
            return self.sentence
        end = "" if self.sentence.endswith((".", "!", "?")) else "."
        return f"{self.sentence}{end} {self.remedy}"


class Unreachable(CommandFailed):
    """Nobody answers where the server should be."""

    def __init__(self, sentence: str, *, remedy: str = "") -> None:
        super().__init__(sentence, UNREACHABLE, remedy=remedy, passing=True)


def _one_line(sentence: str) -> str:
    """Join the lines, and begin with a capital letter."""
    joined = " ".join(sentence.split())
    return joined[:1].upper() + joined[1:]
