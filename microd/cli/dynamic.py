"""Every service is a command: C{micro greeter hello --name=Ada} (spec micro-v3-cli 1.6)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from microd.cli.catalogue import Endpoint, Found, Service, look_up
from microd.cli.failure import FAILED, OTHER, CommandFailed
from microd.cli.flags import Words, flag_of, request_from, words_of
from microd.cli.layout import indented, spaced
from microd.cli.lazy import pass_session
from microd.cli.naming import chosen, command_of, endpoint_of, path_of
from microd.cli.session import Session


def service_command(name: str) -> click.Command:
    """The command which a service's name, or that of a program C{micro-<name>}, stands for."""

    @click.command(
        name,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @pass_session
    def command(session: Session, arguments: tuple[str, ...]) -> None:
        if program := _program(f"micro-{name}", session.environ.get("PATH", "")):
            session.execute(program, [program, *arguments])
            return
        found = look_up(session, name)
        if found is None:
            raise CommandFailed(f"Unrecognized micro command: {name}. Please refer to 'micro --help'", FAILED)
        _run(session, found, name, words_of(arguments))

    return command


def _run(session: Session, found: Found, name: str, words: Words) -> None:
    service = found.versions[0]
    if len(words.names) > 2:
        raise CommandFailed("Incorrect number of arguments", OTHER, remedy=f"See `micro {name} --help`.")
    if not words.names and (words.help or not words.rest):
        session.say(_service_help(service))
        return
    endpoint = _endpoint(service, words.names)
    if words.help:
        session.say(_endpoint_help(service, endpoint))
        return
    if "--json" in words.rest and all(field.name != "json" for field in endpoint.request.fields):
        session.choose(json=True)
    request = request_from(words.rest, endpoint.request, _read)
    body = json.dumps(request, ensure_ascii=False).encode()
    path = path_of(service.name, endpoint.name)
    if not endpoint.streams:
        reply = session.remote.call_json(path, body, namespace=found.namespace)
        session.say(indented(reply.decode()))
        return
    for reply in session.remote.stream_json(path, body, namespace=found.namespace):
        session.say(reply.decode() if session.json else indented(reply.decode()))


def _endpoint(service: Service, names: Sequence[str]) -> Endpoint:
    known = {endpoint.name: endpoint for endpoint in service.endpoints}
    name = chosen(service.name, names, known)
    if name is None:
        meant = endpoint_of(service.name, names)
        raise CommandFailed(
            f"Endpoint {meant} not found for service {service.name}",
            OTHER,
            remedy=f"See `micro {service.name} --help`.",
        )
    return known[name]


def _service_help(service: Service) -> str:
    endpoints = sorted(service.endpoints, key=lambda each: command_of(service.name, each.name))
    rows = [(f"\t{command_of(service.name, each.name)}", each.summary) for each in endpoints]
    commands = []
    for line, endpoint in zip(spaced(rows).splitlines(), endpoints, strict=True) if rows else ():
        commands += [line.rstrip(), *(f"\t\t{flag}" for flag in _flags(endpoint))]
    return "\n".join(
        [
            *("NAME:", f"\tmicro {service.name}", "", "VERSION:", f"\t{service.version}", ""),
            *("USAGE:", f"\tmicro {service.name} [command] [flags]", "", "COMMANDS:"),
            *commands,
        ]
    )


def _flags(endpoint: Endpoint) -> list[str]:
    return [f"{flag_of(path)} {field.title}" for path, field in endpoint.request.leaves()]


def _endpoint_help(service: Service, endpoint: Endpoint) -> str:
    name = f"micro {service.name} {command_of(service.name, endpoint.name)}"
    title = f"\t{name} - {endpoint.summary}" if endpoint.summary else f"\t{name}"
    more = endpoint.doc.partition("\n\n")[2]
    about = ["", "DESCRIPTION:", *(f"\t{line}".rstrip() for line in more.splitlines())] if more else []
    flags = [f"\t{flag}" for flag in _flags(endpoint)]
    return "\n".join(["NAME:", title, *about, "", "USAGE:", f"\t{name} [flags]", "", "FLAGS:", *flags])


def _program(name: str, path: str) -> str:
    """Where a program of that name is; empty for nowhere. (shutil would cost more to import than all of this.)"""
    for folder in path.split(os.pathsep):
        place = os.path.join(folder, name)
        if folder and os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    return ""


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from error
