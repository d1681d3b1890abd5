"""`SHA256SUMS`, the hashes of the embedded weights; read without torch, which takes seconds to import."""

from __future__ import annotations

import hashlib
from pathlib import Path

from salip_exp.files import write_bytes

FOLDER = Path(__file__).parent
SUMS = "SHA256SUMS"


def write_sums(folder: Path = FOLDER) -> None:
    """Write `SHA256SUMS` over all safetensors files of a folder, in the format of `sha256sum`, atomically."""
    files = sorted(folder.glob("*.safetensors"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    write_bytes(folder / SUMS, "".join(lines).encode())


def read_sums(folder: Path = FOLDER) -> dict[str, str]:
    """File name to SHA-256 as `SHA256SUMS` lists them; empty where the list is absent."""
    path = folder / SUMS
    if not path.exists():
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return {name.lstrip("*"): sha256.lower() for sha256, name in pairs}
