from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._secrets import LLM_KEY
from salip_exp.config import ClipConfig, Config, DescribeConfig, LlmConfig, VdtConfig

SECRET = "sk-test-0123456789abcdef"


@pytest.fixture(scope="session")
def servers(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    """Servers in a language model's place; without the client that asks them, the test is skipped."""
    pytest.importorskip("openai")
    return module_at(Path(__file__).parent / "servers.py")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of the environment, and no address there."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv(LLM_KEY, SECRET)
    return SECRET


@pytest.fixture
def asking(key: str) -> Callable[..., Config]:
    """What is typed to describe a liver by four sentences."""

    def configured(url: str, modality: str | None = "abdominal CT", **llm: object) -> Config:
        told = {"base_url": url, "model": "some/model:8b", "n": 4, "timeout_s": 20.0, "retries": 0, **llm}
        text = VdtConfig(llm=LlmConfig(**told))  # type: ignore[arg-type]
        return Config(vdt=text, clip=ClipConfig("tiny"), describe=DescribeConfig("liver", modality))

    return configured
