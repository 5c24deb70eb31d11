"""The flags of a dynamic command: words to a request, by the request's shape. Pure but for the files that it is told to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microd.cli.failure import OTHER, CommandFailed
from microd.cli.shape import UNTOLD, BadValue, Shape


@dataclass(frozen=True, slots=True)
class Words:
    """A command line after the service's name, as far as it can be read without knowing the endpoint.

    @ivar names: what names the endpoint.
    @ivar rest: the flags, and whatever stands among and behind them.
    @ivar help: whether help was asked for.
    """

    names: tuple[str, ...]
    rest: tuple[str, ...]
    help: bool


def words_of(arguments: Sequence[str]) -> Words:
    """Part the names from the flags.

    Where flags come first (C{--name=Ada hello}), a word is the value of the flag before it only if that flag has no
    C{=}.
    """
    wants_help = any(word in ("--help", "-h") for word in arguments)
    words = [word for word in arguments if word not in ("--help", "-h")]
    first = next((place for place, word in enumerate(words) if _is_flag(word) or _is_body(word)), len(words))
    names, rest = words[:first], words[first:]
    if not names:
        names, rest = _names_behind(rest)
    return Words(tuple(names), tuple(rest), wants_help)


def request_from(words: Sequence[str], shape: Shape, read_file: Callable[[str], bytes]) -> dict[str, Any]:
    """The request that the flags describe.

    @param read_file: reads the file that C{@path} names.
    @raise CommandFailed: a flag is unknown, or its value is not of its type.
    """
    known = _by_flag(shape)
    request: dict[str, Any] = {}
    given: dict[tuple[str, ...], tuple[str, Shape, list[str]]] = {}
    for flag, word in _pairs(words, known):
        if flag is None:
            request |= _body(word)
            continue
        path, field = _known(flag, known)
        given.setdefault(path, (flag, field, []))[2].append(word)
    for path, (flag, field, values) in given.items():
        try:
            _put(request, path, field.value(values, read_file))
        except BadValue as error:
            raise CommandFailed(f"--{flag} wants {error}, not {values[-1]}", OTHER) from error
    return request


def flag_of(path: Sequence[str]) -> str:
    """How help spells the flag of a field."""
    return "--" + "_".join(path)


_Known = Mapping[str, tuple[tuple[str, ...], Shape]]

#: What a streaming endpoint's request is described as (spec micro-v3-server 6.1). Ours tell its fields, others do not.
_STREAM = "Context"


class _Anything(dict[str, tuple[tuple[str, ...], Shape]]):
    """Flags of a request whose fields are not told: each is taken as it is spelt, its value as JSON if it is any."""

    def get(self, flag: str, default: object = None) -> tuple[tuple[str, ...], Shape]:
        return (flag,), Shape(flag, UNTOLD)


def _by_flag(shape: Shape) -> _Known:
    """Fields by their flags; where two are spelt alike, the outer one has it."""
    found: dict[str, tuple[tuple[str, ...], Shape]] = {}
    if shape.type == _STREAM and not shape.fields:
        return _Anything()
    for path, field in shape.every():
        found.setdefault(_spelling("_".join(path)), (path, field))
    return found


def _known(flag: str, known: _Known) -> tuple[tuple[str, ...], Shape]:
    found = known.get(_spelling(flag))
    if found is None:
        raise CommandFailed(f"Unknown flag: {flag}", OTHER, remedy=_advice(flag, known))
    return found


def _advice(flag: str, known: _Known) -> str:
    from difflib import get_close_matches

    if flag in ("env", "e", "namespace", "c"):
        return f"Give --{flag} before the service's name."
    near = get_close_matches(_spelling(flag), list(known), 1)
    return f"Did you mean --{near[0]}?" if near else ""


def _pairs(words: Sequence[str], known: _Known) -> Iterator[tuple[str | None, str]]:
    """Flags with their values; a JSON object by itself comes without a flag."""
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not _is_flag(word):
            if not _is_body(word):
                raise CommandFailed(f"the word {word} belongs to no flag", OTHER)
            yield None, word
            continue
        flag, equals, value = word[2:].partition("=")
        if equals:
            yield flag, value
            continue
        if flag == "json" and flag not in known:
            continue
        following = words[place] if place < len(words) else None
        field = _known(flag, known)[1]
        if field.type == UNTOLD and (following is None or _is_flag(following)):
            value = "true"
        elif field.is_bool:
            spoken = following is not None and following.lower() in ("true", "false")
            value = following if spoken and following else "true"
            place += spoken
        elif following is None or (
            _is_flag(following) and _spelling(following[2:].partition("=")[0]) in known
        ):
            raise CommandFailed(f"--{flag} wants a value: {field.title}", OTHER)
        else:
            value = following
            place += 1
        yield flag, value


def _names_behind(words: Sequence[str]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    rest: list[str] = []
    follows = False
    for word in words:
        if _is_flag(word) or _is_body(word) or follows:
            rest.append(word)
            follows = _is_flag(word) and "=" not in word and word != "--json"
        else:
            names.append(word)
    return names, rest


def _body(word: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(word)
    except ValueError as error:
        raise CommandFailed(f"{word} is not valid JSON ({error})", OTHER) from error
    assert isinstance(found, dict)
    return found


def _put(request: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        inner = request.get(part)
        if not isinstance(inner, dict):
            inner = request[part] = {}
        request = inner
    request[path[-1]] = value


def _is_flag(word: str) -> bool:
    return word.startswith("--") and len(word) > 2


def _is_body(word: str) -> bool:
    return word.startswith("{")


def _spelling(flag: str) -> str:
    return flag.replace("-", "_")
