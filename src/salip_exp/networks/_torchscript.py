"""Tensors of a TorchScript archive, read without running what it holds.

`torch.jit.load` compiles the archive's code and runs its `__setstate__`. An archive is a zip, though: a pickle of the
modules with their attributes, the bytes of each storage, and as source which attributes are parameters and buffers. The
pickle is read by names of a list, and no class of the archive's is made.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from salip_exp._files import SMALL

_TYPES = {
    "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64, "BoolStorage": torch.bool, "ByteStorage": torch.uint8, "CharStorage": torch.int8,
    "ShortStorage": torch.int16, "IntStorage": torch.int32, "LongStorage": torch.int64,
}  # fmt: skip
_DECLARED = r"class {}\(Module\):\n  __parameters__ = \[(.*)\]\n  __buffers__ = \[(.*)\]"


class _Module:
    """What stands for an object of the archive's: its attributes, whatever its class would do with them."""

    source: tuple[str, str]

    def __setstate__(self, attributes: Any) -> None:
        self.attributes = attributes if isinstance(attributes, dict) else {}


class _Reader(pickle.Unpickler):
    """Reads modules, tensors and plain values, and refuses every other name."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(_small(archive, f"{root}/data.pkl"))))
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        """What a name of the pickle stands for."""
        if module.split(".")[0] == "__torch__":
            return type("_Module", (_Module,), {"source": (module, name)})
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): dict,
            **{("torch", storage): dtype for storage, dtype in _TYPES.items()},
            **{("torch.jit._pickle", f"build_{kind}list"): _plain for kind in ("int", "double", "bool", "tensor")},
            ("torch.jit._pickle", "restore_type_tag"): _plain,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of weights")
        return known[module, name]

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """The storage of tensors, flat."""
        _, dtype, key, _, _ = pid
        found = self.archive.getinfo(f"{self.root}/data/{key}")
        if found.compress_type != zipfile.ZIP_STORED:  # as torch writes them; a compressed one may grow to any size
            raise pickle.UnpicklingError("its storages are compressed")
        data = bytearray(self.archive.read(found))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Parameters and buffers by the names that the network's `state_dict()` has, on the CPU.

    Raises:
        Exception: of any kind, on a file that is no whole archive of tensors.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name.partition("/")[0] for name in archive.namelist() if name.endswith("/constants.pkl"))
        module = _Reader(archive, root).load()
        if not isinstance(module, _Module):
            raise pickle.UnpicklingError("it holds no network")
        return dict(_state(archive, root, module, ""))


def _state(archive: zipfile.ZipFile, root: str, module: _Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    declared = _declared(archive, root, module.source)
    for name, value in module.attributes.items():
        if isinstance(value, _Module):
            yield from _state(archive, root, value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor) and name in declared:
            yield f"{prefix}{name}", value


def _declared(archive: zipfile.ZipFile, root: str, source: tuple[str, str]) -> set[str]:
    """Names of a module's parameters and buffers: other tensors that it has are no weights."""
    module, name = source
    text = archive.read(_small(archive, f"{root}/code/{module.replace('.', '/')}.py")).decode()
    found = re.search(_DECLARED.format(re.escape(name)), text)
    return set(re.findall(r'"([^"]+)"', found[1] + found[2])) if found else set()


def _small(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = archive.getinfo(name)
    if found.file_size > SMALL:
        raise ValueError(f"{name} is larger than {SMALL >> 20} MB")
    return found


def _tensor(storage: torch.Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> torch.Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _plain(value: Any, *_: Any) -> Any:
    return value
