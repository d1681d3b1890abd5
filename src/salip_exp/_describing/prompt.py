"""What a language model is asked: for sentences that say how an organ looks, in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sentences": {"type": "array", "items": {"type": "string"}}},
    "required": ["sentences"],
    "additionalProperties": False,
}
"""What answers look like; how many sentences there are is no part of it, as some servers refuse that."""
_ASKED = """\
Write {n} visually descriptive sentences about one organ in medical images, for CLIP.
Organ: {organ}
Images: {modality}
CLIP sees the organ alone, cut out of the image along its border, on a black background. Say how that looks: shape and \
outline, size and proportions, brightness and texture in such images, and what is seen inside of it.
Each sentence stands by itself, names or describes the {organ}, has at most 35 words, and is unlike the others. Name \
no other organ, not even to say where it lies. No numbering, no diseases, no advice.
Answer with JSON alone, of the form {{"sentences": ["...", "..."]}}."""


def prompt(
    organ: str, modality: str | None, n: int, have: Sequence[str] = (), refused: Mapping[str, str] | None = None
) -> str:
    """One message that asks for n sentences, and for others than there are already.

    Args:
        have: sentences that are good.
        refused: those that were not, each with what is wrong with it.
    """
    parts = [_ASKED.format(n=n, organ=organ, modality=modality or "any")]
    if have:
        parts.append("There are these already, write others:\n" + "\n".join(f"- {each}" for each in have))
    if refused:
        wrong = (f"- {sentence} ({why})" for sentence, why in refused.items())
        parts.append("These could not be used:\n" + "\n".join(wrong))
    return "\n\n".join(parts)
