"""Pages for this machine alone: starlette on the loopback address, with every connection and request bounded."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from salip_exp._files import from_json
from salip_exp.errors import CaseError, ConfigError, EnvironmentFault, SalipError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import Headers, QueryParams
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as fault:
    raise EnvironmentFault(
        f"task=explore and report.watch=true need starlette and uvicorn ({fault}): pip install 'salip_exp[explore]'"
    ) from fault

App = ASGIApp
HOST = "127.0.0.1"
CONNECTIONS, HEAD_S, BODY_S, TAKEN_S = 32, 5.0, 10.0, 15.0
"""Open at one time, beyond which 503 is answered; how long the head and the body of a request may take to come, and a
part of the answer to be taken."""
MOST_BYTES = 1 << 20
"""Of the body of a request: ids of 5,000 cases, or a thousand long sentences."""


Question = Callable[[Mapping[str, Any]], Any]
"""What answers a body, in JSON; SalipError and CaseError are told."""


@dataclass(frozen=True)
class Page:
    """What is given out.

    Attributes:
        content: as it is sent.
        kind: of content, as browsers call it.
        policy: what it may do there.
    """

    content: bytes
    kind: str
    policy: str = "default-src 'none'"


Giver = Callable[[str, Mapping[str, str]], Page | None]
"""What gives out a page by the rest of its path and its query; None where there is none."""


def application(
    givers: Mapping[str, Giver], questions: Mapping[str, Question], port: int, token: str | None = None
) -> App:
    """Pages and answers for this machine's own page alone, one answer at a time.

    Args:
        givers: by path, of which `{path:path}` is the rest.
        questions: by path; what cannot be answered is told by `error`.
        port: that is listened on.
        token: that every request must bring, in the address of `/` or in a header; None: none is asked for.
    """
    turn = threading.Lock()
    asked = [Route(path, _answering(of, turn), methods=["POST"]) for path, of in questions.items()]
    given = [Route(path, _giving(of), methods=["GET"]) for path, of in givers.items()]
    return _Guard(Starlette(routes=[*asked, *given]), port, token)


def bound(port: int, key: str) -> socket.socket:
    """A socket that listens on the loopback address.

    Args:
        port: 0 for any that is free.
        key: of the configuration, which it is told by.

    Raises:
        EnvironmentFault: the port is in use or not allowed.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
        raise EnvironmentFault(
            f"port {port} {why}: take another by {key}=N, or {key}=0 for any that is free"
        ) from error
    return listening


@contextmanager
def running(app: App, listening: socket.socket) -> Iterator[None]:
    """Answer in a thread of its own, which is ended at the end."""
    server = _server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def serve(app: App, listening: socket.socket) -> None:
    """Answer until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        _server_of(app).run(sockets=[listening])


def _server_of(app: App) -> uvicorn.Server:
    """uvicorn with its bounds, and silent."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # a request that is none is answered by 400, and nothing is printed
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=1 << 14,
            timeout_graceful_shutdown=1,
        )
    )


class _Impatient(H11Protocol):
    """A connection that is cut where the head of a request does not come, or an answer is not taken; a byte now and
    then does not keep it.
    """

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEAD_S, self._cut)

    def _cut(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._waits = self.loop.call_later(TAKEN_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._waits is not None:
            self._waits.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.loop.call_later(TAKEN_S, self.transport.abort)


class _Guard:
    """Lets requests pass that this machine's own page makes, and says in every answer that it is for nobody else."""

    def __init__(self, app: App, port: int, token: str | None) -> None:
        self._app, self._token = app, token
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, by 403 where it is refused."""
        refused = self._refusal(scope)

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ALWAYS]
            await send(message)

        answer = self._app if refused is None else PlainTextResponse(refused + "\n", 403)
        await answer(scope, receive, sent)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if headers.get("host") not in self._hosts:
            return "another name than this machine's"
        if origin is not None and origin not in {f"http://{each}" for each in self._hosts}:
            return "asked by another page"
        if site not in (None, "same-origin", "none"):
            return "asked by another page"
        if self._token is None:
            return None
        query = QueryParams(scope["query_string"])
        given = headers.get("x-token") or (query.get("visit") if scope["path"] == "/" else None) or ""
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return "without the token of the address that the terminal shows"
        return None


_ALWAYS = [
    (b"cache-control", b"no-store"),
    (b"connection", b"close"),  # one request a connection: `_Impatient` bounds its head
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class _Refused(Exception):
    """A body that is not read, with the code of the answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


async def _body_of(request: Request) -> Mapping[str, Any]:
    """What a request tells, in JSON, read no further than the bounds."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                content += part
                if len(content) > MOST_BYTES:
                    raise _Refused(413, f"more than {MOST_BYTES:,} bytes")
        told = from_json(bytes(content))
    except TimeoutError as error:
        raise _Refused(408, f"it did not come within {BODY_S:g} s") from error
    except (ValueError, RecursionError, ClientDisconnect) as error:
        raise _Refused(400, "it is no JSON") from error
    if not isinstance(told, dict):
        raise _Refused(400, "it is no object of JSON")
    return told


def _giving(giver: Giver) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        page = giver(request.path_params.get("path", ""), request.query_params)
        if page is None:
            return PlainTextResponse("Not found\n", 404)
        return Response(page.content, media_type=page.kind, headers={"content-security-policy": page.policy})

    return endpoint


def _answering(question: Question, turn: threading.Lock) -> Callable[[Request], Any]:
    def in_turn(told: Mapping[str, Any]) -> Any:
        with turn:
            return question(told)

    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(in_turn, await _body_of(request)))
        except _Refused as error:
            return JSONResponse({"error": str(error)}, error.code)
        except (SalipError, CaseError) as error:
            return JSONResponse({"error": str(error)}, 422)

    return endpoint


def text(told: Mapping[str, Any], name: str) -> str:
    """A text of a body; raises ConfigError where there is none."""
    if not isinstance(value := told.get(name), str):
        raise ConfigError(f"{name} takes text")
    return value
