"""Servers in a language model's place, on the loopback address, and the habits of those that people run."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LOOKS = [
    "A large smooth wedge of even grey, broad on one side and pointed on the other.",
    "An organ with a convex upper border and a straight lower one.",
    "A bright homogeneous region crossed by thin branching vessels.",
    "A solid cut-out, wider than tall, with rounded corners.",
]


@dataclass
class Answer:
    """What is sent back: a status, a body, headers, and how it goes wrong on the way."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    cut: int | None = None  # bytes after which the connection ends


Habit = Callable[[dict[str, Any], int], Answer]
"""From a request and how many came before to an answer."""


def says(text: str | None, **message: Any) -> Answer:
    """A completion with this content."""
    told = {"role": "assistant", "content": text, **message}
    return Answer(json.dumps({"id": "x", "model": "served-model", "choices": [{"index": 0, "message": told}]}).encode())


def refuses(status: int, message: str, **headers: str) -> Answer:
    return Answer(json.dumps({"error": {"message": message, "type": "invalid"}}).encode(), status, headers)


def listed(sentences: list[str] = LOOKS) -> str:
    return json.dumps({"sentences": sentences})


def openai(request: dict[str, Any], before: int) -> Answer:
    """The schema is honoured, and what is no schema of its kind refused."""
    schema = request["response_format"]["json_schema"]
    if not schema["strict"] or schema["schema"]["additionalProperties"] is not False:
        return refuses(400, "Invalid schema for response_format")
    return says(listed(), refusal=None)


def vllm(request: dict[str, Any], before: int) -> Answer:
    """The schema is honoured by guided decoding; a reasoning model leaves its thoughts beside the answer."""
    return says("\n\n" + listed(), reasoning_content="They want a liver.", tool_calls=[])


def llama_cpp(request: dict[str, Any], before: int) -> Answer:
    """An old build: the schema ends in an error of its grammar, a plain object does not."""
    kind = request.get("response_format", {}).get("type")
    return refuses(400, "failed to parse grammar") if kind == "json_schema" else says(listed())


def ollama(request: dict[str, Any], before: int) -> Answer:
    """The schema is taken and ignored by a model that thinks aloud and fences its code."""
    return says(f"<think>[is it a list?]</think>Here you are:\n```json\n{listed()}\n```\nGood luck!")


def lm_studio(request: dict[str, Any], before: int) -> Answer:
    """Schemas are ignored, a plain object refused, and lists numbered."""
    kind = request.get("response_format", {}).get("type")
    if kind == "json_object":
        return refuses(400, "'response_format.type' must be 'json_schema' or 'text'")
    if kind == "json_schema":
        return says("Sure! A liver is large. A liver is smooth.")
    return says(json.dumps([f"{number}. {each}" for number, each in enumerate(LOOKS, 1)]))


class Fake(http.server.ThreadingHTTPServer):
    """A server of one habit.

    Attributes:
        seen: the requests, and `keys` what they showed as key.
    """

    daemon_threads = True

    def __init__(self, habit: Habit) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.habit = habit
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serving(habit: Habit) -> Iterator[Fake]:
    server = Fake(habit)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Fake

    def log_message(self, format: str, *values: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.keys.append(self.headers["authorization"])
        self.server.seen.append(request)
        wrong = refuses(404, "no such path") if self.path != "/v1/chat/completions" else None
        answer = wrong or self.server.habit(request, len(self.server.seen) - 1)
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        if not answer.wait_s:
            self.wfile.write(answer.body[: answer.cut])
            return
        try:
            for byte in answer.body:
                time.sleep(answer.wait_s)
                self.wfile.write(bytes([byte]))
        except OSError:
            pass
