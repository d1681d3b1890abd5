"""Networks of transformers (extra `transformers`), whole or not at all."""

from __future__ import annotations

from typing import Any

import torch

from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.networks._hub import Folder
from salip_exp.networks._library_clip import Words
from salip_exp.networks.registry import Entry


def library(entry: Entry) -> Any:
    """The library itself; raises EnvironmentFault where the extra is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise EnvironmentFault(f"{entry.option} is read by an extra: pip install 'salip_exp[transformers]'") from error
    return transformers


def read_transformers(entry: Entry, folder: Folder, network: str, processor: str) -> tuple[Any, Any]:
    """A network in float32 and its processor, by the library's classes of these names.

    Raises:
        EnvironmentFault: the extra is not installed, or too old for the class.
        WeightsError: tensors are missing, which the library would draw at random.
        Exception: of any kind, on a folder that does not hold together.
    """
    transformers = library(entry)
    if not hasattr(transformers, network):
        raise EnvironmentFault(
            f"{entry.option}: transformers {transformers.__version__} has no {network}: pip install -U transformers"
        )
    net, told = getattr(transformers, network).from_pretrained(
        folder.place, output_loading_info=True, dtype=torch.float32
    )
    if lacks := sorted(told["missing_keys"]) + sorted(map(str, told["mismatched_keys"])):
        raise WeightsError(f"{entry.option}: {folder.weights} lacks {len(lacks)} tensors of its network ({lacks[0]})")
    return net, getattr(transformers, processor).from_pretrained(folder.place)


def words_of(processor: Any, config: Any) -> Words:
    """How a network that reads text does so, by its processor and its description."""
    whole = getattr(config, "detector_config", config)  # SAM 3's is that of its tracker, too
    context = int(getattr(whole, "max_text_len", whole.text_config.max_position_embeddings))

    def read(sentence: str) -> torch.Tensor:
        how = {"padding": "max_length", "truncation": True, "max_length": context, "return_tensors": "pt"}
        found = processor(text=[sentence], **how)  # which knows whether the network was trained with a mask
        return torch.stack([found["input_ids"], found.get("attention_mask", torch.ones_like(found["input_ids"]))], 1)

    return Words(read, lambda sentence: len(processor.tokenizer(sentence)["input_ids"]), context)
