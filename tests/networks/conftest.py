"""A weights server on the loopback, a cache of its own for every test, and small networks of the official classes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from salip_exp.networks import registry, weights
from salip_exp.networks.packages import CLIP, Sam, segment_anything
from salip_exp.networks.registry import Entry
from tests.networks.hub import Hub, serving

torch.set_num_threads(1)


@dataclass
class Shop:
    """What the server gives, how it misbehaves, and what it was asked for."""

    payload: bytes = bytes(range(256)) * 4000
    ranges: bool = True  # honours Range
    length: bool = True  # announces Content-Length
    cuts: list[int] = field(default_factory=list)  # bytes sent before closing, request by request; then whole
    status: int = 200
    hang: threading.Event | None = None  # waits for it half-way
    asked: list[str] = field(default_factory=list)  # Range header of each request, "" without
    url: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()


class Handler(BaseHTTPRequestHandler):
    shop: Shop

    def do_GET(self) -> None:
        shop, wish = self.shop, self.headers.get("Range", "")
        shop.asked.append(wish)
        start = int(wish.removeprefix("bytes=").rstrip("-")) if wish and shop.ranges else 0
        if shop.status != 200 or start >= len(shop.payload):
            self.send_response(shop.status if shop.status != 200 else 416)
            self.end_headers()
            return
        body = shop.payload[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(shop.payload) - 1}/{len(shop.payload)}")
        if shop.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: shop.cuts.pop(0)] if shop.cuts else body
        self.wfile.write(sent[: len(sent) // 2])
        self.wfile.flush()
        if shop.hang is not None:
            shop.hang.wait()
        self.wfile.write(sent[len(sent) // 2 :])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    goods = Shop()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"shop": goods}))
    goods.url = f"http://127.0.0.1:{server.server_port}/net.pth"
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield goods
    if goods.hang is not None:
        goods.hang.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of the test; no waiting between tries, and no proxy in between."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SALIP_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(weights, "_PAUSE_S", 0.0)
    monkeypatch.setattr(weights, "_CHUNK", 1000)
    return folder


@pytest.fixture
def entry(shop: Shop) -> Entry:
    """An official entry whose file the server gives."""
    return Entry("sam", "vit_b", "net.pth", shop.sha256, (768,), shop.url, len(shop.payload))


def small_sam(width: int = 32) -> Sam:
    """The official classes at a size that a test can afford."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer

    torch.manual_seed(0)
    encoder = ImageEncoderViT(img_size=64, patch_size=16, embed_dim=width, depth=1, num_heads=2, out_chans=32)
    prompts = PromptEncoder(embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4)
    decoder = MaskDecoder(
        transformer_dim=32, transformer=TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=32)
    )
    return Sam(encoder, prompts, decoder)


def small_clip(width: int = 64) -> CLIP:
    """OpenAI's class, small, with weights that float16 holds exactly, as the official ones are."""
    torch.manual_seed(0)
    net = CLIP(32, 32, 1, width, 16, 77, 49408, 64, 1, 1).eval()
    net.load_state_dict({name: tensor.half().float() for name, tensor in net.state_dict().items()})
    return net


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers the small networks as `sam=mini` and `clip=mini`; called again, keywords replace their fields."""
    official = registry.TABLE
    monkeypatch.setitem(segment_anything.sam_model_registry, "mini", small_sam)

    def register(**changes: Any) -> None:
        minis = (
            Entry("sam", "mini", "mini.pth", "0" * 64, (32,)),
            Entry("clip", "mini", "mini.pt", "0" * 64, (64, 16, 32)),
        )
        table = (*official, *(replace(mini, **changes) for mini in minis))
        monkeypatch.setattr(registry, "TABLE", table)

    register()
    return register


@pytest.fixture
def nets() -> tuple[Callable[..., Sam], Callable[..., CLIP]]:
    return small_sam, small_clip


@pytest.fixture(scope="session")
def open_clip() -> Any:
    """The library of an extra; importing it takes seconds, which only tests that run pay."""
    return pytest.importorskip("open_clip")


@pytest.fixture(scope="session")
def transformers() -> Any:
    """The library of an extra, in the same way."""
    return pytest.importorskip("transformers")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that huggingface_hub asks, with a cache of the test's own; its variables are read when it is imported."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    with serving() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[2]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{found.url}/{{repo_id}}{template}")
        yield found


class Bomb:
    """A pickle that creates a file when something executes it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    return Bomb(tmp_path / "canary")
