"""What a network finds in a whole image by a sentence, and which of it is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import nms

from salip_exp.cascade.work import Counters, extent, require_finite
from salip_exp.errors import ConfigError
from salip_exp.networks._library_clip import LibraryClip, Spotted
from salip_exp.networks.packages import CLIP


def require_spotter(net: CLIP | LibraryClip, sentences: Sequence[str], masks: bool) -> None:
    """Prove that a network finds boxes by each sentence, and masks if these are wanted.

    Raises:
        ConfigError: it does not, or a sentence has more tokens than it reads.
    """
    if not isinstance(net, LibraryClip) or net.spot is None:
        raise ConfigError("the method asks a network that finds what a sentence names: take clip=owlv2 or clip=sam3")
    if masks and not net.draws:
        raise ConfigError("method=sam3_text asks a network that draws masks: take clip=sam3, or method=grounded_sam")
    for sentence in sentences:
        net.tokens(sentence)


@torch.no_grad()
def spot(net: CLIP | LibraryClip, image: NDArray[np.uint8], sentence: str, above: float, counters: Counters) -> Spotted:
    """All that a network finds with a score above a number.

    Args:
        image: uint8 (H, W, 3) RGB, of which the network's own processor makes its input.

    Raises:
        CaseError: E_NONFINITE, an answer is no number.
    """
    assert isinstance(net, LibraryClip) and net.spot is not None  # `require_spotter` has asked
    found, answers = net.spot(Image.fromarray(np.ascontiguousarray(image)), sentence, above)
    counters.clip_image_forwards += 1
    counters.clip_images += 1
    counters.clip_text_forwards += 1
    require_finite(extent(*answers), "the answers of the network that finds the text")
    return found


def best(found: Sequence[Spotted], k: int, max_overlap: float) -> Spotted:
    """The at most k of the highest scores, best first, of what was found by several sentences.

    What meets a better one by an IoU of their boxes above `max_overlap` repeats it and is passed over.
    """
    boxes, scores = (np.concatenate([each[part] for each in found]) for part in (0, 1))
    rows = nms(torch.from_numpy(boxes), torch.from_numpy(scores), max_overlap)[:k].numpy()
    masks = [each.masks for each in found if each.masks is not None]
    return Spotted(boxes[rows], scores[rows], np.concatenate(masks)[rows] if masks else None)
