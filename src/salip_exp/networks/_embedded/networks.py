"""The small networks that travel with the package: built from the classes of the official ones, read from files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from salip_exp._files import TooLarge
from salip_exp.errors import WeightsError
from salip_exp.networks._checkpoint import require_small_header
from salip_exp.networks.packages import CLIP, Sam, segment_anything
from salip_exp.networks.registry import TABLE

_SIDE = 256
_PATCH = 16
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

SAM_DEPTHS = {entry.name: entry.shape[-1] for entry in TABLE if entry.embedded and entry.network == "sam"}
"""Blocks of each size's image encoder."""
CLIP_DEPTHS = {entry.name: entry.shape[-1] for entry in TABLE if entry.embedded and entry.network == "clip"}
"""Blocks of each size's tower for pictures."""


def build_sam(size: str = "tiny") -> Sam:
    """SAM for 256-pixel input with random weights: embeddings 128 x 16 x 16, low-resolution masks 64 x 64."""
    parts, width, grid = segment_anything.modeling, 128, _SIDE // _PATCH
    encoder = parts.ImageEncoderViT(
        img_size=_SIDE,
        patch_size=_PATCH,
        embed_dim=192,
        depth=SAM_DEPTHS[size],
        num_heads=6,
        mlp_ratio=3,
        out_chans=width,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=0,
        global_attn_indexes=(),
    )
    prompts = parts.PromptEncoder(
        embed_dim=width,
        image_embedding_size=(grid, grid),
        input_image_size=(_SIDE, _SIDE),
        mask_in_chans=16,
    )
    decoder = parts.MaskDecoder(
        num_multimask_outputs=3,
        transformer=parts.TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=512, num_heads=4),
        transformer_dim=width,
        iou_head_depth=3,
        iou_head_hidden_dim=128,
    )
    return Sam(encoder, prompts, decoder, list(PIXEL_MEAN), list(PIXEL_STD)).eval()


def build_clip(size: str = "tiny") -> CLIP:
    """CLIP for 64-pixel views with random weights: joint space of 128 dimensions, the official vocabulary."""
    return CLIP(
        embed_dim=128,
        image_resolution=64,
        vision_layers=CLIP_DEPTHS[size],
        vision_width=128,
        vision_patch_size=8,
        context_length=77,
        vocab_size=49408,
        transformer_width=128,
        transformer_heads=2,
        transformer_layers=3,
    ).eval()


WORDS = "token_embedding.weight"
IDS = "token_embedding.ids"
ROWS = "token_embedding.rows"

State = dict[str, torch.Tensor]


def read_sam(path: Path) -> State:
    """The float32 state dict of the embedded SAM.

    Raises:
        WeightsError: the file is absent, damaged or something else.
    """
    return {name: tensor.float() for name, tensor in _read(path).items()}


def read_clip(path: Path, vocabulary: int = 49408) -> State:
    """The float32 state dict of the embedded CLIP; rows of words never trained are zero.

    Raises:
        WeightsError: the file is absent, damaged or something else.
    """
    state = _read(path)
    if IDS not in state or ROWS not in state:
        raise WeightsError(f"{path} is a safetensors file, but not an embedded CLIP: it has no {IDS}")
    ids, rows = state.pop(IDS).to(torch.int64), state.pop(ROWS).float()
    if ids.shape != rows.shape[:1] or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary):
        raise WeightsError(f"{path}: {IDS} does not fit {ROWS} and a vocabulary of {vocabulary}; train it again")
    table = torch.zeros(vocabulary, rows.shape[1])
    table[ids] = rows
    return {**{name: tensor.float() for name, tensor in state.items()}, WORDS: table}


def _read(path: Path) -> State:
    try:
        require_small_header(path)
        return load_file(path)
    except (SafetensorError, TooLarge, OSError, RuntimeError) as fault:
        raise WeightsError(f"{path} cannot be read as safetensors ({fault}); get the file again") from fault
