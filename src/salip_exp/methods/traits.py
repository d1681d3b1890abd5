"""What each method needs and does, without the import of any: a method asks for networks, and those for torch.

Whoever wants to know something of a method (validation, checks, tuning, experiments, attribution, pictures) reads it
here, so that a row is all that a new method takes. A row of another package is its entry point `salip_exp.methods`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from salip_exp.networks.registry import Network
from salip_exp.plugins import Catalogue

if TYPE_CHECKING:
    from salip_exp.methods.base import Build


class Chooser(StrEnum):
    """Who says which candidates of a pool are the organ."""

    clip = "clip"  # by likeness to the text
    target = "target"  # by overlap with it
    method = "method"  # by a rule of its own
    nobody = "nobody"  # there is no pool


@dataclass(frozen=True)
class Traits:
    """What a method needs and does.

    Attributes:
        build: makes the method; a text is the dotted name of what does.
        sam: asks SAM, and so has stages that a failure can be blamed on.
        clip: asks CLIP, and so reads text.
        trained: asks the U-Net, which is trained first and scored on what it has not seen.
        target: cannot do without the target.
        chooser: who chooses from the pool.
        prompts: SAM is prompted with boxes of what was chosen.
        searched: a study can search its settings.
        clips: registered CLIPs that bring what it asks beside embeddings, a decoder or boxes; empty where any will do.
    """

    build: Build | str
    sam: bool = False
    clip: bool = False
    trained: bool = False
    target: bool = False
    chooser: Chooser = Chooser.nobody
    prompts: bool = False
    searched: bool = False
    clips: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that it asks of those that are downloaded."""
        asked: dict[Network, bool] = {"sam": self.sam, "clip": self.clip}
        return tuple(network for network, wanted in asked.items() if wanted)


METHODS = Catalogue(
    "methods",
    Traits,
    {
        "salip": Traits(
            "salip_exp.methods.salip:Salip",
            sam=True,
            clip=True,
            chooser=Chooser.clip,
            prompts=True,
            searched=True,
        ),
        "sam_clip": Traits("salip_exp.methods.salip:SamClip", sam=True, clip=True, chooser=Chooser.clip, searched=True),
        "gt_sam": Traits("salip_exp.methods.bounds:GtSam", sam=True, target=True, prompts=True),
        "unprompted_sam": Traits("salip_exp.methods.bounds:UnpromptedSam", sam=True),
        "oracle": Traits(
            "salip_exp.methods.bounds:Oracle", sam=True, target=True, chooser=Chooser.target, prompts=True
        ),
        "saliency": Traits("salip_exp.methods.saliency:Saliency", sam=True, clip=True, prompts=True),
        "lsg_sam": Traits("salip_exp.methods.lsg:LsgSam", sam=True, clip=True, chooser=Chooser.clip, prompts=True),
        "lsg_sam_reference": Traits("salip_exp.methods.lsg:_LsgSamReference", sam=True, target=True, prompts=True),
        "clipseg": Traits("salip_exp.methods.clipseg:Clipseg", clip=True, clips=("clipseg",)),
        "grounded_sam": Traits(
            "salip_exp.methods.grounded:GroundedSam",
            sam=True,
            clip=True,
            prompts=True,
            clips=("owlv2", "grounding_dino", "sam3"),
        ),
        "sam3_text": Traits("salip_exp.methods.grounded:Sam3Text", clip=True, clips=("sam3",)),
        "unet": Traits("salip_exp.methods.unet:Unet", trained=True),
    },
)
