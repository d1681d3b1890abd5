"""CLIP-likes of transformers (extra `transformers`): CLIP, SigLIP and others whose folders open_clip does not read."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from salip_exp.errors import WeightsError
from salip_exp.networks._hub import Folder, described
from salip_exp.networks._library_clip import LibraryClip, Words
from salip_exp.networks._spotter import SPOTTERS, build_spotter
from salip_exp.networks._transformers import library, read_transformers, words_of
from salip_exp.networks.registry import Entry


def build_transformers(entry: Entry, folder: Folder) -> LibraryClip:
    """The network of a folder, with the processor that came with it.

    Raises:
        EnvironmentFault: the extra is not installed.
        WeightsError: it is not whole, or does not embed texts and pictures of one size.
        Exception: of any kind, on a folder that does not hold together.
    """
    if _kind(entry, folder) in SPOTTERS:
        return build_spotter(entry, folder, _kind(entry, folder))
    if _kind(entry, folder) == "siglip2":
        raise WeightsError(
            f"{entry.option}: a SigLIP 2 of the kind NaFlex takes pictures in patches of any number, and views are "
            "squares: take one of a fixed size, as clip=siglip2"
        )
    decodes = _kind(entry, folder) == "clipseg"
    kind = "CLIPSegForImageSegmentation" if decodes else "AutoModel"
    whole, processor = read_transformers(entry, folder, kind, "AutoProcessor")
    net = whole.clip if decodes else whole
    if not (hasattr(net, "get_text_features") and hasattr(net, "get_image_features")):
        raise WeightsError(f"{entry.option}: {type(net).__name__} does not embed texts and pictures in one space")

    def encode_text(read: torch.Tensor) -> torch.Tensor:
        return _embedding(net.get_text_features(input_ids=read[:, 0], attention_mask=read[:, 1]))

    def pixels(picture: Image.Image) -> torch.Tensor:
        seen: torch.Tensor = processor.image_processor(images=picture, return_tensors="pt")["pixel_values"][0]
        return seen

    def segment(seen: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = whole(pixel_values=seen, conditional_embeddings=wanted).logits
        return logits

    return LibraryClip(
        whole,
        encoders=(lambda seen: _embedding(net.get_image_features(pixel_values=seen)), encode_text),
        towers=[net.vision_model, net.text_model],
        words=words_of(processor, net.config),
        pixels=pixels,
        width=_width(net.config),
        segment=segment if decodes else None,
    )


def transformers_words(entry: Entry, folder: Folder) -> Words:
    """How the network of a folder reads a sentence, without its weights; raises as `build_transformers` does."""
    _, processor = SPOTTERS.get(_kind(entry, folder), ("AutoModel", "AutoProcessor"))
    lib = library(entry)
    return words_of(getattr(lib, processor).from_pretrained(folder.place), lib.AutoConfig.from_pretrained(folder.place))


def _kind(entry: Entry, folder: Folder) -> str:
    return str(described(folder.config, entry).get("model_type"))


def _width(config: Any) -> int:
    """Of an embedding; SigLIP's text tower may end in another one than its own."""
    sizes = config.text_config
    return int(getattr(config, "projection_dim", getattr(sizes, "projection_size", sizes.hidden_size)))


def _embedding(answer: Any) -> torch.Tensor:
    """What a network answers: the embedding, or an object that holds it, as the version has it."""
    found: torch.Tensor = getattr(answer, "pooler_output", answer)
    return found
