"""The server of the page of `task=explore`, for who holds the token of its address."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, PackageLoader

from salip_exp import _serving
from salip_exp._exploring.asked import asked_of, read_asked
from salip_exp._exploring.explorer import Explorer
from salip_exp._exploring.saving import save
from salip_exp._reports.page import environment, now
from salip_exp._serving import HOST, App, Page, Question, text
from salip_exp._serving import application as bounded
from salip_exp.errors import ConfigError

MOST_CASES = 500
"""In one request; the page asks for more in parts."""


def serve(listening: socket.socket, explorer: Explorer, overrides: Sequence[str], tell: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; `tell` is given its address, with the token."""
    token, port = secrets.token_urlsafe(24), listening.getsockname()[1]
    tell(f"http://{HOST}:{port}/?visit={token}")
    _serving.serve(application(explorer, overrides, port, token), listening)


def application(explorer: Explorer, overrides: Sequence[str], port: int, token: str) -> App:
    """The page and what it asks for, for this machine's own page alone.

    Args:
        explorer: answers; it is asked one question at a time.
        overrides: of the command, as Hydra had them.
        port: that is listened on.
        token: that every request must bring.
    """
    questions = {f"/api/{name}": of for name, of in _questions(explorer, overrides).items()}
    return bounded({"/": lambda path, query: _page(explorer)}, questions, port, token)


def _questions(explorer: Explorer, overrides: Sequence[str]) -> dict[str, Question]:
    """What can be asked, by name, each of what a body tells."""

    def both(told: Mapping[str, Any]) -> tuple[Any, Any]:
        return read_asked(told.get("asked")), read_asked(told.get("before"))

    def case(told: Mapping[str, Any]) -> Any:
        return explorer.case(text(told, "case"), *both(told))

    def prompted(told: Mapping[str, Any]) -> Any:
        return explorer.prompted(text(told, "case"), _list(told, "boxes", 16), _list(told, "points", 64))

    def scores(told: Mapping[str, Any]) -> Any:
        return explorer.scores(_cases(told), read_asked(told.get("asked")), told.get("masks") is True)

    def candidate(told: Mapping[str, Any]) -> Any:
        return explorer.candidate(text(told, "case"), read_asked(told.get("asked")), _whole(told, "number"))

    def listed(told: Mapping[str, Any]) -> Any:
        return explorer.listed(_whole(told, "start"), min(_whole(told, "count"), MOST_CASES))

    def saved(told: Mapping[str, Any]) -> Any:
        place = (_whole(told, "start"), _whole(told, "count")) if told.get("some") else (0, len(explorer.dataset.refs))
        cases = [case_id for _, case_id, _ in sorted(explorer.listed(*place))]
        if not cases:
            raise ConfigError("there is no case to run on: choose one")
        asked = read_asked(told.get("asked"))
        return save(explorer.folder, explorer.config, overrides, asked, explorer.dataset, cases)

    return {
        "cases": listed,
        "like": lambda told: explorer.like(text(told, "text")),
        "image": lambda told: explorer.image(text(told, "case")),
        "case": case,
        "rankings": lambda told: explorer.rankings(_cases(told), *both(told)),
        "scores": scores,
        "candidate": candidate,
        "prompt": prompted,
        "save": saved,
    }


def _whole(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    if type(value) is not int or value < 0:
        raise ConfigError(f"{name} takes a whole number from 0")
    return value


def _list(told: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value = told.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise ConfigError(f"{name} takes a list of at most {most:,}")
    return value


def _cases(told: Mapping[str, Any]) -> list[str]:
    found = _list(told, "cases", MOST_CASES)
    if not all(isinstance(each, str) for each in found):
        raise ConfigError("cases takes ids")
    return found


def _page(explorer: Explorer) -> Page:
    config = explorer.config
    start = {
        "total": len(explorer.dataset.refs),
        "first": explorer.like(explorer.first)[0],
        "asked": asked_of(config).__dict__,
        "k": config.dataset.k,
        "unit": str(config.area.unit),
    }
    templates = environment().overlay(
        loader=ChoiceLoader([PackageLoader("salip_exp._exploring"), environment().loader or ChoiceLoader([])])
    )
    title = f"Explore {explorer.dataset.name}"
    networks = " and ".join(explorer.loaded.labels.values())
    html = templates.get_template("explore.html.j2").render(
        made=now(), title=title, networks=networks, roi=config.dataset.roi, method=config.method, start=start
    )
    return Page(html.encode(), "text/html; charset=utf-8", _policy(html))


def _policy(html: str) -> str:
    """What the page may do: run its own scripts, known by their hashes, and ask this server."""

    def hashes(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        return " ".join(f"'sha256-{b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in parts)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
