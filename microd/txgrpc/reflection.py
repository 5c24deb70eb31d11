"""Server reflection (C{grpc.reflection.v1} and C{v1alpha}): a server describes its own services to tools.

reflection = Reflection(lambda: service_names(methods), [POOL])
GrpcServer({**methods, **reflection.methods()}, clock=reactor)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from microd.txgrpc.call import ServerCall
from microd.txgrpc.method import Method
from microd.txgrpc.status import StatusCode
from microd.txgrpc.wire import reflection_pb2, reflection_v1alpha_pb2
from microd.txgrpc.wire._pool import POOL as OWN_POOL

_VERSIONS: Mapping[str, ModuleType] = {
    "grpc.reflection.v1.ServerReflection": reflection_pb2,
    "grpc.reflection.v1alpha.ServerReflection": reflection_v1alpha_pb2,
}


def service_names(paths: Iterable[str]) -> set[str]:
    """The services to which these methods belong: of C{/package.Service/Method}, the middle."""
    return {path.split("/")[1] for path in paths}


class Reflection:
    """Answers questions about services and messages from descriptor pools, the first that knows wins.

    @param services: asked anew for each list, so that it may change while the server runs.
    """

    def __init__(self, services: Callable[[], Iterable[str]], pools: Sequence[DescriptorPool]) -> None:
        self._services = services
        self._pools = [*pools, OWN_POOL]

    def methods(self) -> Mapping[str, Method]:
        """What a server adds to its methods to be described."""
        return {
            f"/{service}/ServerReflectionInfo": Method(
                "stream_stream",
                partial(self._converse, messages),
                messages.ServerReflectionRequest.FromString,
                messages.ServerReflectionResponse.SerializeToString,
            )
            for service, messages in _VERSIONS.items()
        }

    # The two versions have the same messages under two names, which no static type can say.
    async def _converse(
        self, messages: Any, questions: AsyncIterator[Any], call: ServerCall
    ) -> AsyncIterator[Any]:
        sent: set[str] = set()
        async for question in questions:
            answer = messages.ServerReflectionResponse(valid_host=question.host, original_request=question)
            try:
                self._answer(question, answer, sent)
            except KeyError as error:
                answer.error_response.error_code = StatusCode.NOT_FOUND
                answer.error_response.error_message = f"not found: {error.args[0]}"
            except ValueError as error:
                answer.error_response.error_code = StatusCode.INVALID_ARGUMENT
                answer.error_response.error_message = str(error)
            yield answer

    def _answer(self, question: Any, answer: Any, sent: set[str]) -> None:
        match question.WhichOneof("message_request"):
            case "list_services":
                names = {*self._services(), *_VERSIONS}
                answer.list_services_response.SetInParent()
                for name in sorted(names):
                    answer.list_services_response.service.add(name=name)
            case "file_by_filename":
                name = question.file_by_filename
                file = self._find(name, lambda pool: pool.FindFileByName(name))
                _add_files(answer, file, sent)
            case "file_containing_symbol":
                symbol = question.file_containing_symbol
                _add_files(answer, self._find(symbol, lambda pool: _file_containing(pool, symbol)), sent)
            case "file_containing_extension":
                wanted = question.file_containing_extension
                extension = self._find(
                    f"extension {wanted.extension_number} of {wanted.containing_type}",
                    lambda pool: pool.FindExtensionByNumber(
                        pool.FindMessageTypeByName(wanted.containing_type), wanted.extension_number
                    ),
                )
                _add_files(answer, extension.file, sent)
            case "all_extension_numbers_of_type":
                name = question.all_extension_numbers_of_type
                extensions = self._find(
                    name, lambda pool: pool.FindAllExtensions(pool.FindMessageTypeByName(name))
                )
                numbers = answer.all_extension_numbers_response
                numbers.base_type_name = name
                numbers.extension_number.extend(sorted(extension.number for extension in extensions))
            case _:
                raise ValueError("the request asks nothing that this server knows to answer")

    def _find(self, name: str, look: Callable[[DescriptorPool], Any]) -> Any:
        for pool in self._pools:
            try:
                return look(pool)
            except KeyError:
                continue
        raise KeyError(name)


def _file_containing(pool: DescriptorPool, symbol: str) -> FileDescriptor:
    try:
        return pool.FindFileContainingSymbol(symbol)
    except KeyError:
        # The pool knows everything by its full name except methods.
        service, _, method = symbol.rpartition(".")
        found = pool.FindServiceByName(service)
        if method not in found.methods_by_name:
            raise
        return found.file


def _add_files(answer: Any, file: FileDescriptor, sent: set[str]) -> None:
    """Add a file and, after it, what it imports, unless this conversation has had it already.

    The file that was asked for is given even if it was sent before: an empty answer would say that it is unknown.
    """
    answer.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)
    sent.add(file.name)
    waiting = list(file.dependencies)
    while waiting:
        imported = waiting.pop(0)
        if imported.name not in sent:
            sent.add(imported.name)
            answer.file_descriptor_response.file_descriptor_proto.append(imported.serialized_pb)
            waiting.extend(imported.dependencies)
