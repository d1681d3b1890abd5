"""What is done to an image before the network sees it in training, with MONAI's transforms; masks follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

_Augment = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]

_TILT = np.deg2rad(25)
_SHEAR = 0.1
SHIFT = 0.1  # of the side
_ZOOM = 0.2


def augmentation(side: int, flip: bool) -> _Augment:
    """What changes an example by a seed, and by nothing else, so that a continued training sees the same pictures.

    Image and mask are tilted, shifted, sheared and zoomed together; then the image alone gets another focus, contrast,
    lighting, noise and a few black holes, as other scanners and operators would give it.

    Args:
        side: of the images, in pixels.
        flip: also mirror left and right: not where the target is one of a pair.

    Returns:
        A function of image float32 (3, side, side) in 0..1, target bool (1, side, side) and seed, which returns image
        and target as float32.
    """
    from monai import transforms as mt
    from monai.utils.type_conversion import convert_to_tensor

    both = ("image", "target")
    chain = mt.Compose(
        [
            mt.RandFlipd(both, prob=0.5 if flip else 0.0, spatial_axis=1),
            mt.RandAffined(
                both,
                prob=0.9,
                rotate_range=_TILT,
                shear_range=(_SHEAR, _SHEAR),
                translate_range=(SHIFT * side, SHIFT * side),
                scale_range=(_ZOOM, _ZOOM),
                mode="bilinear",
                padding_mode="zeros",
            ),
            mt.RandGaussianSmoothd("image", sigma_x=(0.3, 1.5), sigma_y=(0.3, 1.5), prob=0.2),
            mt.RandAdjustContrastd("image", gamma=(0.6, 1.6), prob=0.5),
            mt.RandBiasFieldd("image", degree=2, coeff_range=(-0.3, 0.3), prob=0.3),
            mt.RandGaussianNoised("image", std=0.06, prob=0.3),
            mt.RandCoarseDropoutd(
                "image", holes=3, spatial_size=side // 16, max_spatial_size=side // 6, fill_value=0.0, prob=0.2
            ),
        ]
    )

    def augment(image: Tensor, target: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        chain.set_random_state(seed=seed)
        changed: Any = chain({"image": image, "target": target.float()})
        plain = {name: convert_to_tensor(each, track_meta=False) for name, each in changed.items()}
        return plain["image"], (plain["target"] >= 0.5).float()

    return augment
