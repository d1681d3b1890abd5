"""How much work the networks did, counted where it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Counters:
    """Work done by the networks; every stage adds to the instance it is given.

    Attributes:
        encoder_calls: images or crops that went through SAM's image encoder.
        decoded_points: grid points that went through SAM's mask decoder.
        box_decodes: box prompts that went through SAM's mask decoder.
        unprompted_decodes: images that SAM was asked about without a prompt.
        clip_image_forwards: batches that went through CLIP's image tower.
        clip_images: views in those batches.
        clip_text_forwards: batches of sentences that went through CLIP's text tower.
        unet_forwards: images that went through a U-Net.
    """

    encoder_calls: int = 0
    decoded_points: int = 0
    box_decodes: int = 0
    unprompted_decodes: int = 0
    clip_image_forwards: int = 0
    clip_images: int = 0
    clip_text_forwards: int = 0
    unet_forwards: int = 0

    def __add__(self, other: Counters) -> Counters:
        mine, theirs = self.to_dict(), other.to_dict()
        return Counters(**{name: mine[name] + theirs[name] for name in mine})

    def to_dict(self) -> dict[str, int]:
        """The counts by name, in the order of the fields."""
        return asdict(self)
