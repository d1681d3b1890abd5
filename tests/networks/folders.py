"""Folders in the hub's layout of small random networks, of the classes of the libraries themselves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

WORDS = ["a", "big", "bright", "dark", "grey", "small", "head", "of", "skull", "oval", "round", "with", "rim", "the"]
_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
_VISION = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16}
_HALF = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
OPEN_CLIPS: dict[str, dict[str, Any]] = {
    "plain": {"model_cfg": {"embed_dim": 24, "vision_cfg": _VISION, "text_cfg": _TEXT}},
    "siglip": {
        "model_cfg": {
            "embed_dim": 64,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 160,
                "timm_model_name": "test_vit",
                "timm_model_pretrained": False,
                "timm_pool": "token",
                "timm_proj": "linear",
            },
            "text_cfg": {
                **{"context_length": 12, "vocab_size": 64, "width": 64, "heads": 2, "layers": 1},
                **{"hf_tokenizer_name": "elsewhere/words", "tokenizer_kwargs": {"clean": "canonicalize"}},
                **{"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
            },
        },
        "preprocess_cfg": _HALF,
    },
    "bert": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": _VISION,
            "text_cfg": {
                **{"hf_model_name": "tower", "hf_tokenizer_name": "tower", "context_length": 20},
                **{"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"},
            },
        },
        "preprocess_cfg": {"mean": [0.4] * 3, "std": [0.2] * 3, "interpolation": "bilinear"},
    },
}


def open_clip_folder(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of open_clip: as SigLIP is, with a text tower of transformers as BiomedCLIP is, or plain."""
    open_clip = pytest.importorskip("open_clip")
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(OPEN_CLIPS[kind]))
    if kind != "plain":
        bert_words(folder)
    if kind == "bert":
        bert_sizes(folder / "tower")
    torch.manual_seed(0)
    with monkeypatch.context() as at:
        at.chdir(folder)  # the library takes the tower's folder as it is called
        net = open_clip.create_model("local-dir:.", load_weights=False, pretrained_text=False)
    save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def bert_words(folder: Path) -> None:
    """A tokenizer of words, in the files that transformers writes."""
    transformers = pytest.importorskip("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    rows = {word: row for row, word in enumerate(vocabulary)}
    transformers.BertTokenizer(vocab=rows, model_max_length=16).save_pretrained(folder)


def bert_sizes(folder: Path) -> None:
    """The description of a small text tower."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    folder.mkdir()
    config = {"model_type": "bert", "vocab_size": 64, "max_position_embeddings": 40, **sizes}
    (folder / "config.json").write_text(json.dumps(config))


def transformers_folder(folder: Path, kind: str) -> Path:
    """A network of transformers with its processor: `clip`, `align`, `siglip`, or `siglip_giant` of two widths."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    seen = {**sizes, "image_size": 32, "patch_size": 8}
    read = {**sizes, "vocab_size": 64, "max_position_embeddings": 16}
    torch.manual_seed(0)
    if kind == "clip":
        letters = [f"{each}{end}" for end in ("", "</w>") for each in "abcdefghijklmnopqrst"]
        vocabulary = {word: row for row, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
        ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
        config = transformers.CLIPConfig(text_config={**read, **ends}, vision_config=seen, projection_dim=24)
        tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
        processor = transformers.CLIPProcessor(
            transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32), tokenizer
        )
        net = transformers.CLIPModel(config)
    elif kind == "align":
        read |= {"max_position_embeddings": 64, "type_vocab_size": 2}
        convolved = {
            "image_size": 32,
            "width_coefficient": 0.1,
            "depth_coefficient": 0.1,
            "hidden_dim": 64,
            "initializer_range": 0.5,
        }
        config = transformers.AlignConfig(text_config=read, vision_config=convolved, projection_dim=32)
        bert_words(folder)
        processor = transformers.AlignProcessor(
            transformers.EfficientNetImageProcessor(size={"height": 32, "width": 32}),
            transformers.AutoTokenizer.from_pretrained(folder),
        )
        net = transformers.AlignModel(config)
    else:
        if kind == "siglip_giant":
            seen, read = {**seen, "hidden_size": 48}, {**read, "projection_size": 48}
        config = transformers.SiglipConfig(text_config=read, vision_config=seen)
        bert_words(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        processor = transformers.SiglipProcessor(
            transformers.SiglipImageProcessor(size={"height": 32, "width": 32}), tokenizer
        )
        net = transformers.SiglipModel(config)
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


_PROMPTS = {"hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
_MASKS = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
_ENCODER = {
    **{"hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32},
    **{"image_size": 64, "patch_size": 16, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 16},
}
_HIERA = {
    **{"hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64], "blocks_per_stage": [1, 1, 2, 1]},
    **{"embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2]},
    **{"window_size_per_stage": [4, 2, 2, 2], "window_positional_embedding_background_size": [4, 4]},
    "global_attention_blocks": [3],
}
_FPN = {
    **{"backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]},
    "fpn_hidden_size": 32,
}
_VIT = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"image_size": 64, "patch_size": 16, "pretrain_image_size": 64, "window_size": 2, "global_attn_indexes": [1]},
}
SAMS = ("sam", "sam_hq", "sam2", "sam3_tracker")


def sam_folder(folder: Path, kind: str) -> Path:
    """A promptable network of transformers for 64-pixel input, with its processor."""
    lib: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    parts = {"prompt_encoder_config": _PROMPTS, "mask_decoder_config": _MASKS}
    square = {"size": {"height": 64, "width": 64}, "mask_size": {"height": 16, "width": 16}}
    if kind == "sam2":
        vision = lib.Sam2VisionConfig(backbone_config=lib.Sam2HieraDetConfig(**_HIERA), **_FPN)
        net = lib.Sam2Model(lib.Sam2Config(vision_config=vision, **parts))
        lib.Sam2ImageProcessor(**square).save_pretrained(folder)
    elif kind == "sam3_tracker":
        sizes = {key: value for key, value in _FPN.items() if key != "backbone_channel_list"}
        vision = lib.Sam3VisionConfig(backbone_config=lib.Sam3ViTConfig(**_VIT), **sizes)
        net = lib.Sam3TrackerModel(lib.Sam3TrackerConfig(vision_config=vision, **parts))
        lib.Sam3ImageProcessor(**square).save_pretrained(folder)
    else:
        hq = kind == "sam_hq"
        more = {**parts, "mask_decoder_config": {**_MASKS, "vit_dim": 32}} if hq else parts
        config = (lib.SamHQConfig if hq else lib.SamConfig)(vision_config=_ENCODER, **more)
        net = (lib.SamHQModel if hq else lib.SamModel)(config)
        side = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
        lib.SamImageProcessor(**side).save_pretrained(folder)
    _unlike(net)
    net.save_pretrained(folder)
    return folder


_MEMORY = {
    **dict.fromkeys(("memory_encoder_hidden_size", "memory_attention_hidden_size", "mask_downsampler_embed_dim"), 32),
    **{"memory_attention_feed_forward_hidden_size": 32, "memory_fuser_embed_dim": 32, "memory_fuser_num_layers": 1},
    **{"memory_fuser_intermediate_dim": 32, "memory_encoder_output_channels": 8, "memory_attention_num_layers": 1},
    **{"memory_attention_num_attention_heads": 1, "image_size": 64},
}
VIDEOS = ("sam2_video", "sam3_tracker_video", "sam3_video")


def video_folder(folder: Path, kind: str) -> dict[str, torch.Tensor]:
    """A network of transformers for videos, of which the hub's SAM 2.1 and SAM 3 are some: its tensors by name.

    They are written by these names, as the hub has them: `save_pretrained` of SAM 3 doubles a prefix (5.24).
    """
    lib: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    parts = {"prompt_encoder_config": _PROMPTS, "mask_decoder_config": _MASKS, **_MEMORY}
    if kind == "sam2_video":
        vision = lib.Sam2VisionConfig(backbone_config=lib.Sam2HieraDetConfig(**_HIERA), **_FPN)
        net = lib.Sam2VideoModel(lib.Sam2VideoConfig(vision_config=vision, **parts))
    else:
        sizes = {key: value for key, value in _FPN.items() if key != "backbone_channel_list"}
        vision = lib.Sam3VisionConfig(backbone_config=lib.Sam3ViTConfig(**_VIT), **sizes)
        tracker = lib.Sam3TrackerVideoConfig(vision_config=vision, **parts)
        if kind == "sam3_tracker_video":
            net = lib.Sam3TrackerVideoModel(tracker)
        else:
            detector, words = _sam3(lib, folder, kind)
            net = lib.Sam3VideoModel(lib.Sam3VideoConfig(detector_config=detector.config, tracker_config=tracker))
            words.save_pretrained(folder)
    square = {"size": {"height": 64, "width": 64}, "mask_size": {"height": 16, "width": 16}}
    (lib.Sam2ImageProcessor if kind == "sam2_video" else lib.Sam3ImageProcessor)(**square).save_pretrained(folder)
    net.config.save_pretrained(folder)
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return tensors


def mobile_sam_file(path: Path) -> tuple[Any, str]:
    """A MobileSAM of kornia at random, saved to a file: the network itself, and the SHA-256 of the file."""
    kornia = pytest.importorskip("kornia.models.sam")
    torch.manual_seed(0)
    net = kornia.Sam.from_config(kornia.SamConfig("mobile_sam")).eval()
    _unlike(net)
    torch.save(net.state_dict(), path)
    return net, hashlib.sha256(path.read_bytes()).hexdigest()


def _unlike(net: torch.nn.Module) -> None:
    """Draw what makes the masks of an image differ, which are all alike as a library draws them."""
    for name, tensor in net.named_parameters():
        if "mask_tokens" in name or "hypernetworks" in name or "upscal" in name or "iou" in name:
            tensor.data = torch.randn_like(tensor) * 0.5


def clipseg_folder(folder: Path, context: int = 16) -> Path:
    """A CLIPSeg of transformers, with its processor; `context` is how many tokens it reads."""
    transformers = pytest.importorskip("transformers")
    transformers_folder(folder, "clip")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    read = {**sizes, **ends, "num_hidden_layers": 1, "vocab_size": 64, "max_position_embeddings": context}
    seen = {**sizes, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = transformers.CLIPSegConfig(
        text_config=read, vision_config=seen, projection_dim=24, extract_layers=[0, 1, 2], reduce_dim=16,
        decoder_num_attention_heads=2, decoder_intermediate_size=32,
    )  # fmt: skip
    pictures = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    for path in folder.iterdir():
        path.unlink()
    transformers.CLIPSegProcessor(pictures, tokenizer).save_pretrained(folder)
    transformers.CLIPSegForImageSegmentation(config).save_pretrained(folder)
    return folder


_LAYERS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
_SMALL = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}


def spotter_folder(folder: Path, kind: str) -> Path:
    """A network of transformers that finds what a sentence names: `owlvit`, `owlv2`, `grounding-dino` or `sam3`."""
    lib: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    net, processor = {"grounding-dino": _grounding_dino, "sam3": _sam3}.get(kind, _owl)(lib, folder, kind)
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _letters(lib: Any, length: int) -> Any:
    """CLIP's tokenizer, of single letters."""
    letters = [f"{each}{end}" for end in ("", "</w>") for each in "abcdefghijklmnopqrstuvwxyz."]
    words = ["!", *letters, "<|startoftext|>", "<|endoftext|>"]
    return lib.CLIPTokenizer(
        vocab={word: row for row, word in enumerate(words)}, merges=[], model_max_length=length, pad_token="!"
    )


def _owl(lib: Any, folder: Path, kind: str) -> tuple[Any, Any]:
    name = {"owlvit": "OwlViT", "owlv2": "Owlv2"}[kind]
    tokenizer = _letters(lib, 16)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    read = {**_LAYERS, **ends, "vocab_size": 64, "max_position_embeddings": 16}
    config = getattr(lib, f"{name}Config")(
        text_config=read, vision_config={**_LAYERS, "image_size": 32, "patch_size": 8}, projection_dim=32
    )
    images = getattr(lib, f"{name}ImageProcessor")(size={"height": 32, "width": 32})
    return getattr(lib, f"{name}ForObjectDetection")(config), getattr(lib, f"{name}Processor")(images, tokenizer)


def _grounding_dino(lib: Any, folder: Path, kind: str) -> tuple[Any, Any]:
    folder.mkdir(parents=True)
    bert_words(folder)
    tokenizer = lib.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["."])
    swin = lib.SwinConfig(
        image_size=32, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 1], window_size=4, out_indices=[1, 2, 3]
    )
    config = lib.GroundingDinoConfig(
        backbone_config=swin, text_config=lib.BertConfig(**_LAYERS, vocab_size=64), num_queries=6, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
        d_model=32, encoder_n_points=2, decoder_n_points=2, num_feature_levels=3, max_text_len=16,
    )  # fmt: skip
    images = lib.GroundingDinoImageProcessor(size={"shortest_edge": 32, "longest_edge": 64})
    return lib.GroundingDinoForObjectDetection(config), lib.GroundingDinoProcessor(images, tokenizer)


def _sam3(lib: Any, folder: Path, kind: str) -> tuple[Any, Any]:
    sizes = {key: value for key, value in _FPN.items() if key != "backbone_channel_list"}
    vision = lib.Sam3VisionConfig(backbone_config=lib.Sam3ViTConfig(**_VIT), **sizes)
    tokenizer = _letters(lib, 32)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    read = {**_LAYERS, **ends, "vocab_size": 64, "max_position_embeddings": 32, "projection_dim": 16}
    config = lib.Sam3Config(
        vision_config=vision,
        text_config=lib.CLIPTextConfig(**read),
        geometry_encoder_config={**_SMALL, "num_layers": 1},
        detr_encoder_config={**_SMALL, "num_layers": 1},
        detr_decoder_config={**_SMALL, "num_layers": 1, "num_queries": 8},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, "num_upsampling_stages": 2},
    )
    images = lib.Sam3ImageProcessor(size={"height": 64, "width": 64})
    return lib.Sam3Model(config), lib.Sam3Processor(images, tokenizer)
