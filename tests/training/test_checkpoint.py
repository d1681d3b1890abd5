"""A checkpoint is whole or not there, and is read without running code."""

from __future__ import annotations

import io
import pickle

import pytest
import torch

from salip_exp._training import fit as checkpoint
from salip_exp._training.fit import DIGEST, read_checkpoint, save_checkpoint
from salip_exp.errors import WeightsError

CPU = torch.device("cpu")


def test_what_was_saved_comes_back(tmp_path) -> None:
    state = {"weights": {"a": torch.arange(5.0)}, "history": [{"loss": 0.5}], "epoch": 3}
    save_checkpoint(tmp_path / "c.pt", state)
    found = read_checkpoint(tmp_path / "c.pt", CPU)
    assert found is not None
    assert torch.equal(found["weights"]["a"], state["weights"]["a"])
    assert (found["history"], found["epoch"]) == (state["history"], 3)


def test_nothing_saved_is_no_error(tmp_path) -> None:
    assert read_checkpoint(tmp_path / "c.pt", CPU) is None


@pytest.mark.parametrize("spoil", [lambda b: b[:-10], lambda b: b"", lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:]])
def test_damage_is_noticed_before_anything_is_read(tmp_path, monkeypatch, spoil) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"weights": torch.ones(100)})
    path.write_bytes(spoil(path.read_bytes()))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read what is damaged"))
    with pytest.raises(WeightsError, match=r"c\.pt is damaged: delete it, and the same command trains from the start"):
        read_checkpoint(path, CPU)


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("ran code out of a file",))


def test_code_in_a_file_is_not_run(tmp_path) -> None:
    stream = io.BytesIO()
    torch.save({"weights": Harmful()}, stream)
    content = stream.getvalue()
    path = tmp_path / "c.pt"
    path.write_bytes(checkpoint.hashlib.sha256(content).digest() + content)
    assert len(content) == path.stat().st_size - DIGEST
    with pytest.raises(pickle.UnpicklingError):
        read_checkpoint(path, CPU)
