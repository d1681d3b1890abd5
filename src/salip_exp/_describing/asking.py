"""From an organ to sentences: a language model is asked, and asked again for what is missing or cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from salip_exp._describing.prompt import prompt
from salip_exp._describing.reading import fitting, sentences_in, wrong
from salip_exp._describing.server import Server
from salip_exp._wording import many, some
from salip_exp.config import Config
from salip_exp.errors import EnvironmentFault

_TOLD = 12
"""Sentences that could not be used, of which a model is told."""


@dataclass
class Description:
    """What was asked and answered.

    Attributes:
        sentences: that can be used.
        exchanges: every prompt with its raw answer, and the form in which JSON was asked for.
        left_out: sentences that cannot be used, each with what is wrong with it.
    """

    sentences: list[str] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def take(self, found: list[str], n: int, why_not: Callable[[str, Sequence[str]], str | None]) -> None:
        """Take in what can be used of new sentences, up to n in all."""
        for sentence in found:
            if len(self.sentences) == n:
                return
            why = why_not(sentence, self.sentences)
            if why is None:
                self.sentences.append(sentence)
            else:
                self.left_out[sentence] = why


def describe(config: Config, server: Server) -> Description:
    """Ask until there are `vdt.llm.n` sentences, `vdt.llm.rounds` times at most.

    Raises:
        EnvironmentFault: there are too few of them then.
        SalipError: what `Server.ask` raises.
    """
    told, llm, done = config.describe, config.vdt.llm, Description()
    organ = str(told.organ)
    named, fits = f"{organ} {told.modality or ''}", fitting(config)
    for _ in range(llm.rounds):
        refused = dict(list(done.left_out.items())[-_TOLD:])
        asked = prompt(organ, told.modality, llm.n - len(done.sentences), done.sentences, refused)
        answer = server.ask(asked)
        done.exchanges.append({"form": server.form, "prompt": asked, "answer": answer})
        found = sentences_in(answer)
        if found is None:
            server.weaken()
            continue
        done.take(found, llm.n, lambda sentence, have: wrong(sentence, have, named, fits))
        if len(done.sentences) == llm.n:
            return done
    raise EnvironmentFault(_too_few(config, done))


def _too_few(config: Config, done: Description) -> str:
    llm, answers = config.vdt.llm, many(len(done.exchanges), "answer")
    unread = sum(sentences_in(each["answer"]) is None for each in done.exchanges)
    why = [f"{many(unread, '[answer was|answers were]')} no JSON with sentences"] if unread else []
    refused = [f"'{sentence[:60]}' {reason}" for sentence, reason in done.left_out.items()]
    why += [some(refused)] if refused else []
    return (
        f"{llm.model} gave {len(done.sentences)} of vdt.llm.n={llm.n} sentences that can be used in {answers} "
        f"({'; '.join(why) or 'it gave no more'}): nothing is written; ask for fewer, raise vdt.llm.rounds, or take "
        "another model"
    )


def as_yaml(config: Config, server: Server, done: Description) -> str:
    """The VDT file: the sentences as in `conf/vdt`, and all that they were made of."""
    told, llm = config.describe, config.vdt.llm
    content: dict[str, Any] = {
        "name": told.organ,
        "sentences": done.sentences,
        "described": {
            "organ": told.organ,
            "modality": told.modality,
            "model": llm.model,
            "answered_as": server.model,
            "server": server.address,
            "temperature": llm.temperature,
            "seed": config.seed,
            "clip": config.clip.name,
            "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "exchanges": done.exchanges,
            "left_out": [{"sentence": sentence, "why": why} for sentence, why in done.left_out.items()],
        },
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return text
