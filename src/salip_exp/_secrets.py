"""Passwords in addresses: known to this process alone, and to no file, page, log, tracker or terminal.

An address is kept where it comes in (arguments, files, the environment), and from there on everybody has it with `***`
for the password, Hydra too. Only who opens a connection asks for what stood there. What is written or printed is hidden
once more on its way out: older folders, and messages of libraries, may hold an address that never came in here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from urllib.parse import unquote

MARK = "***"
LLM_KEY = "OPENAI_API_KEY"
"""The variable with the key for language models."""
_SCHEME = r"[A-Za-z][\w+.-]*://"
_WORD = re.compile(r"(://(?<=[\w+.-]://)[^\s/'\"@:]*:)[^\s'\"]*(?=@)")  # "://" first: it is looked for in pages of 5 MB
_WHOLE = re.compile(rf"({_SCHEME}[^/@:]*:)(.*)(@[^@]*)", re.DOTALL)
_QUERY = re.compile(r"(?i)([?&;][\w-]*(?:passw|pwd|passphrase|secret|token|api_?key)[\w-]*=)([^&;\s'\"#]+)")
_SHORTEST = 4  # characters of a password that is looked for in a message: shorter ones are parts of words

_SHORTEST_KEY = 8  # what stands for one on servers that want none is shorter: EMPTY, ollama

_kept: dict[str, str] = {}
_keys: set[str] = set()


def keep_key(key: str) -> None:
    """Have a key hidden from now on, whoever writes or says it; it is no address, and stands anywhere."""
    if len(key) >= _SHORTEST_KEY:
        _keys.add(key)


def hidden(text: str) -> str:
    """The text with `***` for each key that is kept, each password in an address, and each query parameter that is
    named like one.
    """
    for key in _keys:
        text = text.replace(key, MARK)
    return _QUERY.sub(rf"\1{MARK}", _WORD.sub(rf"\1{MARK}", text)) if "://" in text else text


def keep(url: str) -> str:
    """The address with its secrets hidden; `revealed` gives it back. Other text is given back as it is."""
    if not re.match(_SCHEME, url):
        return url
    shown = _QUERY.sub(rf"\1{MARK}", _WHOLE.sub(rf"\1{MARK}\3", url))
    if shown != url:
        _kept[shown] = url
    return shown


def revealed(url: str) -> str:
    """The address that was kept, as it came in; one that never was is given back as it is."""
    return _kept.get(url, url)


def scrubbed(text: str) -> str:
    """A library's message without the secrets of addresses that were kept, quoted or not."""
    for url in _kept.values():
        found = [match[2] for pattern in (_WHOLE, _QUERY) for match in pattern.finditer(url)]
        for secret in sorted({*found, *map(unquote, found)}, key=len, reverse=True):
            text = text.replace(secret, MARK) if len(secret) >= _SHORTEST else text
    return hidden(text)


class Hiding(logging.Formatter):
    """Lines of a log, tracebacks of libraries among them, with secrets hidden."""

    def format(self, record: logging.LogRecord) -> str:
        """The line as it is written."""
        return hidden(super().format(record))


def handed_over() -> dict[str, str]:
    """What is kept, for a process that this one starts: never as an argument, which others can see."""
    return dict(_kept)


def take(kept: Mapping[str, str]) -> None:
    """Keep what another process handed over."""
    _kept.update(kept)
