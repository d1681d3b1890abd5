"""CLIPs of open_clip (extra `openclip`): SigLIP, MobileCLIP, those with a text tower of transformers, and others."""

from __future__ import annotations

from typing import Any

from salip_exp.errors import EnvironmentFault
from salip_exp.networks._hub import Folder, described
from salip_exp.networks._library_clip import LibraryClip, Words
from salip_exp.networks.registry import Entry


def build_open_clip(entry: Entry, folder: Folder) -> LibraryClip:
    """The network of a folder, with the tokenizer and the preprocessing that its description names.

    Raises:
        EnvironmentFault: the extra is not installed.
        Exception: of any kind, on a folder that does not hold together.
    """
    open_clip, whole = _library(entry), described(folder.config, entry)
    sizes = whole.get("model_cfg", whole)
    text = sizes["text_cfg"]
    if tower := text.get("hf_model_name"):  # its sizes lie beside: nothing is asked of the hub from here on
        text = sizes["text_cfg"] = {**text, "hf_model_name": str(folder.beside[tower])}
    open_clip.factory._MODEL_CONFIGS["of a folder"] = sizes  # as who has a description of his own tells the library
    net = open_clip.create_model(
        "of a folder", pretrained=str(folder.weights), force_preprocess_cfg=whole.get("preprocess_cfg")
    )
    cfg = open_clip.transform.PreprocessCfg(**net.visual.preprocess_cfg)
    return LibraryClip(
        net,
        encoders=(net.encode_image, net.encode_text),
        towers=[net.visual, net.text if hasattr(net, "text") else net.transformer],
        words=open_clip_words(entry, folder),
        pixels=open_clip.transform.image_transform_v2(cfg, is_train=False),
        width=sizes["embed_dim"],
    )


def open_clip_words(entry: Entry, folder: Folder) -> Words:
    """How the network of a folder reads a sentence, without its weights; raises as `build_open_clip` does."""
    open_clip, whole = _library(entry), described(folder.config, entry)
    text = whole.get("model_cfg", whole)["text_cfg"]
    context = text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    more = {"context_length": context, **text.get("tokenizer_kwargs", {})}
    if words := text.get("hf_tokenizer_name"):
        more |= {"tokenizer_name": str(folder.words(words)), "tokenizer_mode": text.get("tokenizer_mode")}
    tokenizer = (open_clip.tokenizer.HFTokenizer if words else open_clip.tokenizer.SimpleTokenizer)(**more)
    return Words(tokenizer, lambda sentence: _count(tokenizer, sentence), context)


def _library(entry: Entry) -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise EnvironmentFault(f"{entry.option} is read by an extra: pip install 'salip_exp[openclip]'") from error
    return open_clip


def _count(tokenizer: Any, sentence: str) -> int:
    """Tokens of a sentence with what begins and ends it."""
    if not hasattr(tokenizer, "tokenizer"):
        ids: list[int] = tokenizer.encode(sentence)
        return len(ids) + 2
    between = tokenizer.tokenizer_mode == "clips"  # begins, ends and sums up by tokens that the library adds itself
    ids = tokenizer.tokenizer(tokenizer.clean_fn(sentence), add_special_tokens=not between)["input_ids"]
    return int(len(ids) + 3 * between)
