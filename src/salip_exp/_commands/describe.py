"""`task=describe`: sentences on how an organ looks, by a language model, as a file that `vdt.file` takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._describing.asking import as_yaml, describe
from salip_exp._describing.server import Server
from salip_exp._files import atomic_write, prove_writable
from salip_exp._wording import many
from salip_exp.config import Config
from salip_exp.errors import ConfigError, Unwritable


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Ask, write the file, and show its sentences.

    Returns:
        0.

    Raises:
        ConfigError: `describe.file` is there already, or the server takes the request in no form.
        EnvironmentFault: the server cannot be reached, its answers cannot be used, or the file cannot be written.
    """
    path = _path(config, folder)
    server = Server(config.vdt.llm, config.seed)
    done = describe(config, server)
    atomic_write(path, as_yaml(config, server, done))
    console = wide_console()
    for sentence in done.sentences:
        console.print(Text(f"  {sentence}"))
    n, out = many(len(done.sentences), "sentence"), many(len(done.left_out), "other")
    answers = many(len(done.exchanges), "answer")
    said = f"{config.describe.organ}: {n} by {config.vdt.llm.model} in {answers}, {out} left out; read them before use"
    console.print(Text(said))
    console.print(Text(f"file        {shown(path)}"))
    console.print(Text(f"next        python -m salip_exp dataset=folder dataset.root=DIR vdt.file={shown(path)}"))
    return 0


def _path(config: Config, folder: Path) -> Path:
    """Where the file will lie, which is proven before a model is paid for."""
    parts = config.describe.organ, config.vdt.llm.model, f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    name = "_".join(re.sub(r"[^\w.-]+", "-", str(each)) for each in parts)
    path = Path(config.describe.file).expanduser() if config.describe.file else folder / f"{name}.yaml"
    if path.exists():
        raise ConfigError(f"describe.file={path} is there already, and is not written over: name another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prove_writable(path.parent)
    except OSError as error:
        raise Unwritable(f"{path} cannot be written ({error.strerror or error}): make room or get access") from error
    return path
