"""Folders of networks that a library reads: fetched from a hub by huggingface_hub, or the user's own.

Nothing of the hub's is written anew: its cache (`HF_HOME`), its token (`hf auth login`, `HF_TOKEN`), its offline
switch (`HF_HUB_OFFLINE`) and its address (`HF_ENDPOINT`) are what huggingface_hub makes of them. What is added is the
hash over all files that were taken, by which results are found again, and errors of one sentence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from salip_exp._files import from_json, read_small
from salip_exp._secrets import hidden
from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.networks.registry import Entry
from salip_exp.networks.weights import sha256_of

_SIZES = ("*config.json", "*config.yaml")
_WORDS = ("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model")
_WEIGHTS = (
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    *("model.safetensors", "pytorch_model.bin"),
)
"""Names of whole networks, what is taken first in front; of shards (`model-00001-of-...`) none is."""
OPEN_CLIP = "open_clip_config.json"


class Folder(NamedTuple):
    """A network's files.

    Attributes:
        place: where they lie.
        config: the description that the library builds the network from.
        weights: the file of its tensors.
        beside: other folders that the description names, by that name: sizes of a text tower, words of a tokenizer.
    """

    place: Path
    config: Path
    weights: Path
    beside: Mapping[str, Path]

    def words(self, name: str) -> Path:
        """Where the tokenizer lies that a description calls so: among its own files, or beside."""
        return self.place if any(self.place.glob("tokenizer*")) else self.beside[name]


def located(entry: Entry, download: bool) -> Entry:
    """An entry with its folder, the hash over what is in it and, from a hub, the commit; any other entry as it is.

    Raises:
        WeightsError: it is not there and cannot be fetched, or is another one than `sha256` says.
        EnvironmentFault: the extra is not installed, or the cache cannot be written.
    """
    if not entry.folder:
        return entry
    folder, revision = _folder(entry, download)
    found = _content(folder)
    if entry.sha256 not in ("", found):
        raise WeightsError(
            f"{entry.option}: the files in {folder.place} have SHA-256 {found} together, but {entry.sha256} was "
            f"expected: if you trust them, give {entry.network}.sha256={found}"
        )
    return replace(entry, path=folder.place, sha256=found, revision=revision)


def read_folder(entry: Entry) -> Folder:
    """The files of a located entry.

    Raises:
        WeightsError: something is missing.
    """
    return _folder(entry, download=False)[0]


def described(path: Path, entry: Entry) -> dict[str, Any]:
    """What a description in JSON holds; raises WeightsError where it is none."""
    try:
        found = from_json(read_small(path))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{entry.option}: {path} cannot be read as JSON ({error}): get the file again") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{entry.option}: {path} describes no network: get the file again")
    return found


def _folder(entry: Entry, download: bool) -> tuple[Folder, str | None]:
    """The files, and the commit that they are of."""
    if entry.users or entry.repo is None:
        place, commit = _users(entry), None
    else:
        repo = _listed(entry, entry.repo) if entry.name.startswith("open_clip:") else entry.repo
        place = _snapshot(entry, repo, entry.revision, [*_SIZES, *_WORDS], download)
        commit = place.name
        for name in _WEIGHTS if (place / OPEN_CLIP).is_file() else _WEIGHTS[3:]:
            _snapshot(entry, repo, commit, [name], download)
            if (place / name).is_file():
                break
    config = _one(entry, place, _configs(place))
    weights = _one(entry, place, _files_of_weights(place, config))
    return Folder(place, config, weights, dict(_beside(entry, place, config, download))), commit


def _listed(entry: Entry, name: str) -> str:
    """Where the hub has what open_clip lists as MODEL/TAG."""
    try:
        from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    except ImportError as error:
        raise EnvironmentFault(f"{entry.option} is read by an extra: pip install 'salip_exp[openclip]'") from error
    model, tag = name.split("/")
    repo: str = get_pretrained_cfg(model, tag).get("hf_hub", "").rstrip("/")
    if not repo:
        tags = ", ".join(list_pretrained_tags_by_model(model)) or "no such model"
        raise WeightsError(
            f"{entry.option}: open_clip lists no {name} ({model}: {tags}); "
            'python -c "import open_clip; print(open_clip.list_pretrained())" shows all'
        )
    return "/".join(repo.split("/")[:2])


def _users(entry: Entry) -> Path:
    if entry.path is None:
        raise WeightsError(
            f"{entry.option}: its makers give the files to who asks, and no hub has them: "
            f"{entry.network}.weights=FOLDER says where they lie"
        )
    if not entry.path.is_dir():
        why = "a file, and a folder is wanted" if entry.path.is_file() else "no such folder; check the path"
        raise WeightsError(f"{entry.network}.weights={entry.path}: {why}")
    return entry.path


def _configs(place: Path) -> list[Path]:
    """Descriptions, the library's own names first."""
    named = [place / name for name in (OPEN_CLIP, "config.json")]
    return [*(each for each in named if each.is_file()), *sorted(place.glob("*_config.json"))]


def _files_of_weights(place: Path, config: Path) -> list[Path]:
    """Whole networks, the library's own names first; transformers looks for no other name, whatever lies beside."""
    of_transformers = config.name == "config.json"
    named = [place / name for name in _WEIGHTS[3 * of_transformers :] if (place / name).is_file()]
    if of_transformers:
        return named
    return named or [each for kind in ("safetensors", "bin", "pt", "pth") for each in sorted(place.glob(f"*.{kind}"))]


def _one(entry: Entry, place: Path, found: list[Path]) -> Path:
    if not found:
        raise WeightsError(
            f"{entry.option}: {place} holds no network that can be read: it wants {OPEN_CLIP} or config.json, and "
            f"weights in one file ({', '.join(_WEIGHTS)})"
        )
    return found[0]


def _beside(entry: Entry, place: Path, config: Path, download: bool) -> Iterator[tuple[str, Path]]:
    """Folders that a description of open_clip names: a text tower's sizes and a tokenizer, if it brings no words."""
    whole = described(config, entry)
    text = whole.get("model_cfg", whole).get("text_cfg", {})
    wanted = {text.get("hf_model_name"): ["config.json"]}
    if not any(place.glob("tokenizer*")):
        wanted |= {text.get("hf_tokenizer_name"): ["config.json", *_WORDS]}
    for name, patterns in wanted.items():
        if name:
            own = place / name
            yield name, own if own.is_dir() else _snapshot(entry, name, None, patterns, download)


def _content(folder: Folder) -> str:
    """SHA-256 over the list that `sha256sum` prints of the files' names and hashes, in the order of names."""
    files = {folder.config.name: folder.config, folder.weights.name: folder.weights}
    places = {"": folder.place, **{f"{name}/": place for name, place in folder.beside.items()}}
    for prefix, place in places.items():
        small = [each for pattern in (*_SIZES, *_WORDS) for each in place.glob(pattern) if each.is_file()]
        files |= {f"{prefix}{each.name}": each for each in small}
    lines = [f"{sha256_of(path)}  {name}\n" for name, path in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _snapshot(entry: Entry, repo: str, revision: str | None, patterns: list[str], download: bool) -> Path:
    """The folder of a commit in huggingface_hub's cache, with the files of these patterns."""
    try:
        from huggingface_hub import constants, errors, snapshot_download
    except ImportError as error:
        raise EnvironmentFault(
            f"{entry.option} is read by an extra: pip install 'salip_exp[transformers]', or 'salip_exp[openclip]' for "
            "those of open_clip"
        ) from error
    page = hidden(f"{constants.ENDPOINT}/{repo}")
    at = f" at {revision}" if revision else ""
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=not download))
    except errors.GatedRepoError as error:
        raise WeightsError(
            f"{entry.option}: {page} is given to those who accept its licence: open that page and accept it, then "
            "`hf auth login` or HF_TOKEN=... with a token of that account (the hub's answer: "
            f"{_answer(error)})"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"{entry.option}: {page} has no revision {revision}: look for it on that page") from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"{entry.option}: {page} does not exist, or is private (the hub's answer: {_answer(error)}): check the "
            "name; for a private one `hf auth login` or HF_TOKEN=... with a token that may read it"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise WeightsError(
            f"{entry.option}: {repo}{at} is not whole in {constants.HF_HUB_CACHE}, and was not fetched from {page} "
            f"({why if download else 'download=false'}): on a machine with a network type `hf download {repo}`, and "
            f"copy that folder, or give {entry.network}.weights=FOLDER"
        ) from error
    except OSError as error:
        if error.errno is None:  # what the hub's client could not do, told as an error of the system
            raise WeightsError(f"{entry.option}: {page} gives no files ({_answer(error)}): try again later") from error
        raise EnvironmentFault(
            f"{entry.option}: {error.strerror}: {error.filename or constants.HF_HUB_CACHE}, while getting {repo}; "
            "make room or permit writing there, or set HF_HOME to another folder"
        ) from error


def _answer(error: Exception) -> str:
    response = getattr(error, "response", None)
    told = str(error).splitlines()[0] if response is None else f"{response.status_code} {response.reason_phrase}"
    return hidden(told)
