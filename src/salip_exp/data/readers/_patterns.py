"""Patterns of file names, one for images and one for masks, whose named parts say what belongs together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from salip_exp.data.paths import by_name, composed

PARTS = ("group", "subject", "id")
"""What a pattern may name, in the order in which ids of cases are put together."""
_NARROW = "rename or remove one of them, or narrow the pattern that finds both, e.g. by {subject} or a folder's name"
_TOKENS = re.compile(r"(\{\w*\}|\*\*/?|\*|\?|\[!?[^]/]+\])")
_SIGNS = {"*": "[^/]*", "?": "[^/]", "**/": "(?:[^/]+/)*", "**": ".*"}


@dataclass(frozen=True)
class Pattern:
    """A glob below a root in which `{id}`, `{subject}` and `{group}` stand for a part of one name each.

    A part takes as many signs as it can, and the same ones wherever it is repeated.
    """

    text: str

    @property
    def named(self) -> tuple[str, ...]:
        """The parts that it names, in the order of PARTS."""
        return tuple(part for part in PARTS if f"{{{part}}}" in self.text)

    @property
    def glob(self) -> str:
        """The glob of all files that it may match."""
        return re.sub(r"\{\w*\}", "*", self.text)

    def unknown(self) -> str | None:
        """The first name in braces that is none of PARTS."""
        return next((each for each in re.findall(r"\{(\w*)\}", self.text) if each not in PARTS), None)

    def read(self, name: str, signs: int | None = None) -> Mapping[str, str] | None:
        """The parts of a path below the root, composed and with `/` between folders; None where it does not match.

        Args:
            signs: that `{id}` must have; None: as many as it can.
        """
        found = _compiled(self.text, signs).fullmatch(name)
        return None if found is None else found.groupdict()


@cache
def _compiled(text: str, signs: int | None) -> re.Pattern[str]:
    known: set[str] = set()
    parts = [_regex(token, signs, known) for token in _TOKENS.split(composed(text)) if token]
    return re.compile("".join(parts), re.DOTALL)


def _regex(token: str, signs: int | None, known: set[str]) -> str:
    if token in _SIGNS:
        return _SIGNS[token]
    if token.startswith("["):
        return f"[^{token[2:]}" if token.startswith("[!") else token
    if not token.startswith("{"):
        return re.escape(token)
    name = token[1:-1]
    if name in known:
        return f"(?P={name})"
    known.add(name)
    return f"(?P<{name}>[^/]{'+' if signs is None or name != 'id' else f'{{{signs}}}'})"


@dataclass(frozen=True)
class Paired:
    """Files by the name of their case.

    Attributes:
        images, masks: paths by name.
        parts: what the pattern of images names, by name.
        others: files that belong to one of these, as the slices of a series do, or to what is passed over.
        passed: images that were not chosen, a file of each.
    """

    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    parts: Mapping[str, Mapping[str, str]]
    others: Sequence[Path] = ()
    passed: Sequence[Path] = ()

    @property
    def both(self) -> int:
        """How many images have a mask."""
        return len(self.images.keys() & self.masks.keys())


def pair(
    root: Path, images: Pattern, masks: Pattern | None, image_files: Sequence[Path], mask_files: Sequence[Path]
) -> Paired:
    """Images and masks whose patterns read the same parts in their paths.

    A case is named by the parts that both patterns name. The `{id}` of a mask is the longest one that an image has, so
    that `{id}*.png` takes off whatever follows it.

    Raises:
        DataError: two images, or two masks, have one name.
    """
    own = [part for part in images.named if masks is None or part in masks.named]
    read = {path: told for path in image_files if (told := images.read(relative(path, root))) is not None}
    found = by_name(read, lambda path: _key(read[path], own), _NARROW)
    parts = {name: read[path] for name, path in found.items()}
    if masks is None:
        return Paired(found, {}, parts)
    lengths = sorted({len(each.get("id", "")) for each in parts.values()}, reverse=True)
    names = {path: _mask_name(masks, relative(path, root), own, lengths, parts) for path in mask_files}
    matching = (path for path in mask_files if names[path])
    return Paired(found, by_name(matching, lambda path: names[path] or "", _NARROW), parts)


def _mask_name(
    pattern: Pattern, name: str, own: Sequence[str], lengths: Iterable[int], images: Mapping[str, object]
) -> str | None:
    """The name of the image that a mask belongs to, or its own where there is none; None where it does not match."""
    whole = pattern.read(name)
    if whole is None or "id" not in own:
        return None if whole is None else _key(whole, own)
    tries = (pattern.read(name, signs) for signs in lengths)
    return next((key for each in tries if each and (key := _key(each, own)) in images), _key(whole, own))


def _key(parts: Mapping[str, str], own: Sequence[str]) -> str:
    return "/".join(parts[part] for part in own)


def relative(path: Path, root: Path) -> str:
    """A path below the root as patterns read it."""
    return composed(path.relative_to(root).as_posix())
