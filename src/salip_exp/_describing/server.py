"""A server that speaks as OpenAI's does: asked for JSON by a schema, without one, or in words, whatever it can."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from salip_exp._console import said_late
from salip_exp._describing.prompt import SCHEMA
from salip_exp._files import SAY_AFTER_S, from_json
from salip_exp._secrets import LLM_KEY, hidden, keep, keep_key, revealed, scrubbed
from salip_exp._wording import brief
from salip_exp.config import LlmConfig
from salip_exp.errors import ConfigError, EnvironmentFault, SalipError

_OPENAI = "https://api.openai.com/v1"
_FORMS: dict[str, dict[str, Any]] = {
    "json_schema": {"type": "json_schema", "json_schema": {"name": "sentences", "strict": True, "schema": SCHEMA}},
    "json_object": {"type": "json_object"},
    "text": {},
}
"""How JSON is asked for, the surest first; not every server knows every one."""
_REFUSING = {400, 415, 422, 500, 501}
"""What servers answer to a form that they do not know."""
_MOST = 1 << 20
"""Bytes of the largest answer."""
_LONGEST = 50_000
"""Letters of it that are read."""


class Server:
    """The server and the model of a configuration.

    Attributes:
        address: without the password that it may hold.
        form: in which JSON is asked for by now.
        model: as the server calls what answered; None before it did.
    """

    def __init__(self, config: LlmConfig, seed: int) -> None:
        """Nothing is asked yet.

        Raises:
            EnvironmentFault: the extra is not installed, or OpenAI's own server is meant and there is no key.
            ConfigError: the address is none.
        """
        self._openai = _package()
        self._config, self._seed = config, seed
        self.model: str | None = None
        self.form = next(iter(_FORMS))
        self.address = config.base_url or keep(os.environ.get("OPENAI_BASE_URL", "")) or _OPENAI
        if not self.address.startswith(("http://", "https://")):
            raise ConfigError(f"vdt.llm.base_url={self.address} is no address: it begins with http:// or https://")
        self._client = self._connected(_key(self.address))

    def _connected(self, key: str) -> Any:
        config = self._config
        try:
            return self._openai.OpenAI(
                api_key=key,
                base_url=revealed(self.address),
                timeout=config.timeout_s,
                max_retries=config.retries,
            )
        except Exception as error:  # of the client's transport, whose classes change with its versions
            said = _excerpt(scrubbed(str(error)))
            raise ConfigError(f"vdt.llm.base_url={self.address} cannot be used ({said}): correct it") from None

    def ask(self, prompt: str) -> str:
        """The answer to one message; in a weaker form where the server refuses one.

        Raises:
            ConfigError: the server knows no such model, or refuses the request in every form.
            EnvironmentFault: it cannot be reached, wants another key, has no time, or is no server of this kind.
        """
        limits = f"vdt.llm.timeout_s={self._config.timeout_s:g} an answer, vdt.llm.retries={self._config.retries}"
        while True:
            try:
                with said_late(SAY_AFTER_S, f"{self.address}, {limits}"):
                    body = self._body(prompt)
                return self._content(body)
            except self._openai.APIStatusError as error:
                if error.status_code not in _REFUSING or not self.weaken():
                    raise self._complaint(error) from None
            except self._openai.APIConnectionError as error:
                raise self._unreached(error) from None

    def weaken(self) -> bool:
        """Ask in a weaker form from now on; whether there was one."""
        forms = list(_FORMS)
        rest = forms[forms.index(self.form) + 1 :]
        self.form = rest[0] if rest else self.form
        return bool(rest)

    def _body(self, prompt: str) -> bytes:
        """What the server answers, whole; an answer that breaks off is asked for again."""
        chosen: dict[str, Any] = {
            "temperature": self._config.temperature,
            "response_format": _FORMS[self.form] or None,
            "seed": self._seed,
        }
        request = {name: value for name, value in chosen.items() if value is not None}
        request |= {"model": self._config.model, "messages": [{"role": "user", "content": prompt}]}
        left = self._config.retries
        while True:
            with self._client.chat.completions.with_streaming_response.create(**request) as response:
                try:
                    return self._read(response)
                except SalipError:
                    raise
                except Exception as error:  # as above
                    if not left:
                        raise self._unreached(error) from None
            left -= 1

    def _read(self, response: Any) -> bytes:
        body, until = bytearray(), time.monotonic() + self._config.timeout_s
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MOST:
                raise EnvironmentFault(f"{self.address} answers more than {_MOST >> 20} MB: take another model")
            if time.monotonic() > until:
                raise EnvironmentFault(self._slow())
        return bytes(body)

    def _content(self, body: bytes) -> str:
        try:
            told = from_json(body)
            message = told["choices"][0]["message"]
            refused, content = message.get("refusal"), message.get("content") or ""
            self.model = hidden(str(told.get("model") or "")) or None
        except (ValueError, LookupError, TypeError, AttributeError):
            said = _excerpt(body.decode("utf-8", "replace"))
            check = "check vdt.llm.base_url, which mostly ends in /v1"
            raise EnvironmentFault(f"{self.address} is no OpenAI-compatible server ('{said}'): {check}") from None
        if refused:
            said = _excerpt(str(refused))
            raise EnvironmentFault(f"{self._config.model} refuses to answer ({said}): take another model")
        return hidden(str(content)[:_LONGEST].encode("utf-8", "replace").decode("utf-8"))

    def _complaint(self, error: Any) -> SalipError:
        """What a status means, and what is to be done."""
        code, said, model = error.status_code, _excerpt(error.message), self._config.model
        if code in (401, 403):
            return EnvironmentFault(f"{self.address} refuses the key ({said}): set {LLM_KEY} to one of that server's")
        if code == 404:
            known = f"{self.address} knows no vdt.llm.model={model}, or is not the address"
            return ConfigError(f"{known} ({said}): check both; the address mostly ends in /v1")
        if code == 429:
            later = "wait, or raise vdt.llm.retries"
            return EnvironmentFault(f"{self.address} takes no more requests for now ({said}): {later}")
        if code < 500:
            check = "check vdt.llm.model and vdt.llm.temperature (null leaves it to the model)"
            return ConfigError(f"{self.address} refuses the request ({said}): {check}")
        return EnvironmentFault(f"{self.address} fails ({said}): try later, or another vdt.llm.model")

    def _unreached(self, error: Exception) -> EnvironmentFault:
        if isinstance(error, self._openai.APITimeoutError) or "Timeout" in type(error).__name__:
            return EnvironmentFault(self._slow())
        cause = _excerpt(scrubbed(str(error.__cause__ or error)))
        return EnvironmentFault(
            f"{self.address} cannot be reached, or breaks off ({cause}): check vdt.llm.base_url, and that it runs"
        )

    def _slow(self) -> str:
        waited = f"vdt.llm.timeout_s={self._config.timeout_s:g}"
        return f"{self.address} did not answer within {waited}: raise it, or try later"


def _key(address: str) -> str:
    """The key of the environment; from here on nobody is told it but the server. Others than OpenAI's may want none.

    Raises:
        EnvironmentFault: there is none and OpenAI's server wants one, or it is none.
    """
    key = os.environ.get(LLM_KEY, "").strip()
    keep_key(key)
    if not key and address == _OPENAI:
        raise EnvironmentFault(
            f"{_OPENAI} wants a key: set {LLM_KEY} in the environment, or name another server by vdt.llm.base_url=URL"
        )
    if not (key.isascii() and key.isprintable()):
        raise EnvironmentFault(f"{LLM_KEY} holds signs that no key has: set it again")
    return key or "none"


def _excerpt(text: str) -> str:
    return brief(hidden(" ".join(text.split())))[:200]


def _package() -> Any:
    """The client; it, and what it is made of, logs no addresses and no requests."""
    try:
        import openai
    except ImportError as error:
        raise EnvironmentFault(
            f"task=describe needs the package openai, an extra ({error}): pip install 'salip_exp[llm]'"
        ) from error
    for name in ("openai", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return openai
