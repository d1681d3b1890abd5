"""The two small networks that travel with the package, built from the very classes of the official ones."""

from __future__ import annotations

from functools import partial

import torch

from salip_exp.networks.packages import CLIP, Sam, segment_anything

_SIDE = 256
_PATCH = 16
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def build_sam() -> Sam:
    """SAM for 256-pixel input with random weights: embeddings 128 x 16 x 16, low-resolution masks 64 x 64."""
    parts, width, grid = segment_anything.modeling, 128, _SIDE // _PATCH
    encoder = parts.ImageEncoderViT(
        img_size=_SIDE,
        patch_size=_PATCH,
        embed_dim=192,
        depth=6,
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


def build_clip() -> CLIP:
    """CLIP for 64-pixel views with random weights: joint space of 128 dimensions, the official vocabulary."""
    return CLIP(
        embed_dim=128,
        image_resolution=64,
        vision_layers=4,
        vision_width=128,
        vision_patch_size=8,
        context_length=77,
        vocab_size=49408,
        transformer_width=128,
        transformer_heads=2,
        transformer_layers=3,
    ).eval()
