"""Speaking MCP over stdin and stdout to the tool server that a run started, with the official package `mcp`.

Only the session is the package's. Its own transport keeps a line of any length in memory, logs each line that is no
message, and would start the server itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from migrator.tool_server.server import RunningServer, mcp_missing
from migrator.tool_server.session import (
    LONGEST_ANSWER_BYTES,
    AnswerError,
    ListedTool,
    LostServerError,
    Session,
    answer_in,
    listed,
)

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp import ClientSession
    from mcp.shared.message import SessionMessage

_MOST_PAGES = 100
_ENDING_S = 0.5
"""stdout ends a moment before its server has ended."""


@contextmanager
def mcp_session(running: RunningServer, start_s: float, call_s: float) -> Iterator[Session]:
    """A session with the server, once it has answered the first message.

    Raises LostServerError where that takes longer than `start_s`, and RefusedError where the package is missing.
    """
    try:
        # Half a second, for which only an operator who names such a server waits.
        import mcp  # noqa: F401
        from anyio.from_thread import start_blocking_portal
    except ImportError:
        raise mcp_missing() from None
    with start_blocking_portal() as portal:
        session = _McpSession(portal, running, call_s)
        talking = portal.wrap_async_context_manager(session.talking())
        talking.__enter__()
        try:
            session.ask(session.client.initialize, start_s)
            yield session
        finally:
            # Without the error of the block, which would come back inside an ExceptionGroup.
            talking.__exit__(None, None, None)


class _McpSession:
    client: ClientSession

    def __init__(self, portal: BlockingPortal, running: RunningServer, call_s: float) -> None:
        self._portal, self._running, self._call_s = portal, running, call_s
        self._heard_all = False

    def tools(self) -> tuple[ListedTool, ...]:
        """Every tool of the server, whatever the number of pages that it lists them on."""
        from mcp.types import PaginatedRequestParams

        found: list[ListedTool] = []
        page = PaginatedRequestParams()
        for _ in range(_MOST_PAGES):
            result = self.ask(partial(self.client.list_tools, params=page), self._call_s)
            found += (listed(tool.model_dump(mode="json", by_alias=True)) for tool in result.tools)
            if result.nextCursor is None:
                return tuple(found)
            page = PaginatedRequestParams(cursor=result.nextCursor)
        raise AnswerError(f"it lists its tools on more than {_MOST_PAGES} pages")

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the tool answers."""
        result = self.ask(partial(self.client.call_tool, name, dict(arguments)), self._call_s)
        return answer_in(result.model_dump(mode="json", by_alias=True))

    def ask(self, question: Callable[[], Coroutine[Any, Any, Any]], deadline_s: float) -> Any:
        """What the question's coroutine returns; raises as `Session` says."""
        try:
            return self._portal.call(_within, question, deadline_s)
        except TimeoutError:
            lost = f"no answer within {deadline_s:g} s"
        except Exception as error:
            ended = self._running.ended(_ENDING_S if self._heard_all else 0.0)
            if not ended and not self._heard_all:
                raise AnswerError(str(error) or type(error).__name__) from error
            lost = f"the server {ended or 'closed its stdout'}"
        raise LostServerError(lost, self._running)

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """Afterwards `client` is the package's session over the server's streams, to the end of the block."""
        import anyio
        from mcp import ClientSession

        stdin, stdout = self._running.streams
        says, heard = anyio.create_memory_object_stream["SessionMessage | Exception"](0)
        asks, asked = anyio.create_memory_object_stream["SessionMessage"](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear, stdout, says)
            tasks.start_soon(_say, asked, stdin)
            async with ClientSession(heard, asks) as self.client:
                yield
            tasks.cancel_scope.cancel()

    async def _hear(self, stdout: IO[bytes], says: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Passes answers and questions on and everything else over; keeps never more than one answer in memory.

        The package would log a notification, or a question, that it cannot read, with all that it holds.
        """
        import anyio
        from mcp.shared.message import SessionMessage
        from mcp.types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, ServerRequest

        reader = asyncio.StreamReader(limit=LONGEST_ANSWER_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdout)
        with closing(transport), suppress(asyncio.IncompleteReadError, anyio.BrokenResourceError):
            async with says:
                try:
                    while True:
                        # pydantic's ValidationError is a ValueError, as is a line without an object.
                        with suppress(ValueError):
                            line = await _line_of(reader)
                            message = JSONRPCMessage.model_validate_json(line[line.index(b"{") :])
                            if isinstance(message.root, JSONRPCRequest):
                                ServerRequest.model_validate(message.root.model_dump(by_alias=True, exclude_none=True))
                            if not isinstance(message.root, JSONRPCNotification):
                                await says.send(SessionMessage(message))
                finally:
                    self._heard_all = True


async def _within(question: Callable[[], Coroutine[Any, Any, Any]], deadline_s: float) -> Any:
    import anyio

    with anyio.fail_after(deadline_s):
        return await question()


async def _line_of(reader: asyncio.StreamReader) -> bytes:
    """The next line; of one that is too long only what comes last. IncompleteReadError at the end of the stream."""
    while True:
        try:
            return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)


async def _say(asked: MemoryObjectReceiveStream[SessionMessage], stdin: IO[bytes]) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, stdin)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    with closing(transport):
        async with asked:
            async for message in asked:
                writer.write(message.message.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n")
                # A server that has ended takes no more; the end of its stdout tells.
                with suppress(ConnectionError):
                    await writer.drain()
