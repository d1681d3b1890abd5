"""The weights that a name stands for: where they come from, and the SHA-256 that proves them.

Four kinds, one table: official weights (a URL), embedded ones (files of the package), folders of a hub
(huggingface_hub), and the user's own, which take the place of a registered file by their hash:
`sam=vit_b sam.weights=FILE sam.sha256=HEX`.
A network of a hub need not be registered: `hf:owner/name` or `hf:owner/name@revision` is a name, too, and so is
`open_clip:MODEL/TAG` for what the library open_clip lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from salip_exp.config import ClipConfig, Config, SamConfig
from salip_exp.errors import ConfigError, WeightsError

Network = Literal["sam", "clip"]

EMBEDDED = Path(__file__).parent / "_embedded"
SUMS = "SHA256SUMS"
_META = "https://dl.fbaipublicfiles.com/segment_anything"
_MOBILE = "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights"
_OPENAI = "https://openaipublic.azureedge.net/clip/models"


@dataclass(frozen=True)
class Entry:
    """One set of weights.

    Attributes:
        network: configuration group it belongs to.
        name: option of that group, e.g. `vit_b`.
        file: file name in the cache or the package.
        sha256: of the whole file, lower-case hexadecimal.
        shape: what the tensors must show: (encoder width,) of SAM; (vision width, patch, input side) of CLIP; of the
            embedded ones, whose sizes differ by nothing else, the blocks of the encoder last. Of a folder, that of a
            file of SAM's own classes that may take its place; empty where none may.
        url: where it is fetched from; None for files that are not fetched.
        size: bytes, for people; what decides is the hash.
        path: where the file lies if not in the cache.
        users: whether `path` is the user's own file rather than the package's.
        folder: whether it is a folder of several files (weights, configuration, tokenizer) that a library reads;
            `sha256` is then over all of them, and empty until they are found.
        repo: owner and name on the hub; None for a folder that is on none.
        revision: branch, tag or commit there; the commit as soon as the folder is found.
    """

    network: Network
    name: str
    file: str
    sha256: str
    shape: tuple[int, ...]
    url: str | None = None
    size: int | None = None
    path: Path | None = None
    users: bool = False
    folder: bool = False
    repo: str | None = None
    revision: str | None = None

    @property
    def option(self) -> str:
        """The override that chooses it, e.g. `sam=vit_b`."""
        return f"{self.network}={self.name}"

    @property
    def label(self) -> str:
        """What its files are called: a file's or a folder's name, or the address on the hub with the commit."""
        if self.repo is not None and not self.users:
            return f"{self.repo}@{(self.revision or 'main')[:7]}"
        return self.path.name if self.path is not None else self.file

    @property
    def embedded(self) -> bool:
        """Whether the architecture is the package's own, stored as safetensors."""
        return self.file.endswith(".safetensors")


def _sam(name: str, file: str, size: int, width: int, sha256: str) -> Entry:
    return Entry("sam", name, file, sha256, (width,), f"{_META}/{file}", size)


def _clip(name: str, file: str, size: int, shape: tuple[int, int, int], sha256: str) -> Entry:
    return Entry("clip", name, file, sha256, shape, f"{_OPENAI}/{sha256}/{file}", size)


def _packed(network: Network, size: str, shape: tuple[int, ...]) -> Entry:
    file = f"{network}_{size}.safetensors"
    return Entry(network, size, file, "", shape, path=EMBEDDED / file)


def _hub(network: Network, name: str, repo: str, shape: tuple[int, ...] = ()) -> Entry:
    return Entry(network, name, repo.rpartition("/")[2], "", shape, folder=True, repo=repo)


# SHA-256 of SAM as several independent projects publish them; those of CLIP are part of OpenAI's own URLs.
# The embedded files' hashes stand in embedded/SHA256SUMS, which tools/embedded writes.
TABLE: tuple[Entry, ...] = (
    _sam(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        375_042_383,
        768,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _sam(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        1024,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _sam(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        1280,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    Entry(
        "sam",
        "mobile_sam",
        "mobile_sam.pt",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        (64,),
        f"{_MOBILE}/mobile_sam.pt",
        40_728_226,
    ),
    _hub("sam", "medsam", "wanglab/medsam-vit-base", (768,)),
    _hub("sam", "sam_hq_vit_b", "syscv-community/sam-hq-vit-base"),
    *(
        _hub("sam", f"sam2_1_{size}", f"facebook/sam2.1-hiera-{size.replace('_', '-')}")
        for size in ("tiny", "small", "base_plus", "large")
    ),
    _hub("sam", "sam3", "facebook/sam3"),
    _packed("sam", "tiny", (192, 6)),
    _packed("sam", "small", (192, 8)),
    _clip(
        "vit_b_32",
        "ViT-B-32.pt",
        353_976_522,
        (768, 32, 224),
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    ),
    _clip(
        "vit_l_14",
        "ViT-L-14.pt",
        932_768_134,
        (1024, 14, 224),
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    ),
    _packed("clip", "tiny", (128, 8, 64, 4)),
    _packed("clip", "small", (128, 8, 64, 6)),
    _hub("clip", "biomedclip", "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"),
    _hub("clip", "siglip2", "timm/ViT-B-16-SigLIP2"),
    _hub("clip", "mobileclip", "apple/MobileCLIP-S1-OpenCLIP"),
    _hub("clip", "pubmedclip", "flaviagiammarino/pubmed-clip-vit-base-patch32"),
    _hub("clip", "clipseg", "CIDAS/clipseg-rd64-refined"),
    _hub("clip", "owlv2", "google/owlv2-base-patch16-ensemble"),
    _hub("clip", "grounding_dino", "IDEA-Research/grounding-dino-tiny"),
    _hub("clip", "sam3", "facebook/sam3"),
    Entry("clip", "fetalclip", "FetalCLIP", "", (), folder=True),
)

EMBEDDED_NAMES = frozenset(entry.name for entry in TABLE if entry.embedded)
"""What the networks are called that travel with the package: tiny, small."""

HUB = re.compile(r"(?P<of>hf|open_clip):(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
"""A network of the hub by its address there, or by how a library calls it, in place of a registered name."""


def find(network: Network, name: str, weights: str | None = None, sha256: str | None = None) -> Entry:
    """The entry that a configuration names, with the user's own file in its place if one is given.

    Args:
        network: `sam` or `clip`.
        name: `sam.name` or `clip.name`.
        weights: the user's file of that variant; None takes the registered one.
        sha256: its hash; None expects the registered file's, so that an official file may lie anywhere.

    Raises:
        ConfigError: unknown name, a hash without a file, or something that is no SHA-256.
        WeightsError: the package was installed without its embedded weights.
    """
    entry = next((e for e in TABLE if (e.network, e.name) == (network, name)), None) or _on_hub(network, name)
    if sha256 is not None and weights is None:
        raise ConfigError(f"{network}.sha256 is set but {network}.weights is not: give the file it belongs to")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ConfigError(
            f"{network}.sha256={sha256!r} is not a SHA-256: 64 hexadecimal digits, as `sha256sum FILE` prints them"
        )
    if weights is not None:
        path = Path(weights).expanduser()
        entry = replace(entry, path=path, users=True, folder=entry.folder and not (entry.shape and path.is_file()))
    return replace(entry, sha256=sha256.lower() if sha256 else _registered_sha256(entry))


def _on_hub(network: Network, name: str) -> Entry:
    found = HUB.fullmatch(name)
    if found is None or (found["of"], network) == ("open_clip", "sam"):
        raise _unknown(network, name)
    return replace(_hub(network, name, found["repo"]), revision=found["revision"])


def entry_of(config: Config, network: Network) -> Entry:
    """The entry of a network that is configured; raises what `find` raises."""
    section: SamConfig | ClipConfig = config.sam if network == "sam" else config.clip
    return find(network, section.name, section.weights, section.sha256)


def named_by_hash(network: Network, sha256: str) -> str | None:
    """Name of the official weights of a network that have this hash, if any has."""
    return next((e.name for e in TABLE if e.network == network and e.sha256 == sha256), None)


def named_by_shape(network: Network, shape: tuple[int, ...]) -> str | None:
    """Name of the variant of a network whose tensors have this shape, if any has."""
    return next((e.name for e in TABLE if e.network == network and e.shape == shape), None)


def read_sums(folder: Path) -> dict[str, str]:
    """File name to SHA-256 as the `SHA256SUMS` of a folder lists them; empty where there is none."""
    path = folder / SUMS
    if not path.exists():
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return {name.lstrip("*"): sha256.lower() for sha256, name in pairs}


def _registered_sha256(entry: Entry) -> str:
    if entry.sha256 or entry.folder:
        return entry.sha256
    sha256 = read_sums(EMBEDDED).get(entry.file)
    if sha256 is None:
        raise WeightsError(
            f"{entry.option}: the embedded weights {entry.file} are not part of this installation "
            f"(no line for them in {EMBEDDED / SUMS}); install salip_exp again, "
            "or train them in a checkout: python -m tools.embedded.train"
        )
    return sha256


def _unknown(network: Network, name: str) -> ConfigError:
    names = [e.name for e in TABLE if e.network == network]
    near = get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return ConfigError(
        f"{network}.name={name!r} is not known{hint}; choose one of {', '.join(names)}, or hf:OWNER/NAME of the hub"
    )
