"""U-Net, the supervised baseline: MONAI's network, its input, and its weights as one file that says what it is.

Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, with residual units and instance norm (Kerfoot et al. 2018).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from salip_exp._wording import brief
from salip_exp.errors import CaseError, EnvironmentFault, WeightsError
from salip_exp.networks._checkpoint import LoadedNetwork, frozen, require_finite, require_small_header
from salip_exp.networks.weights import sha256_of

VERSION = 1
_METADATA = "salip_exp_unet"
_TRAIN = "python -m salip_exp task=train method=unet dataset=NAME"


@dataclass(frozen=True)
class Trained:
    """What a file of weights says of itself.

    Attributes:
        side: of the square input, in pixels.
        channels: of the levels, from the finest to the coarsest.
        dataset: name of the data set that it was trained on.
        subjects: patients, fetuses or volumes that training saw, those of early stopping among them.
        key: of the training (`training.identity.training_key`).
        version: of this form.
    """

    side: int
    channels: tuple[int, ...]
    dataset: str
    subjects: tuple[str, ...]
    key: str
    version: int = VERSION


@dataclass(frozen=True)
class LoadedUnet(LoadedNetwork[nn.Module]):
    """A U-Net ready for inference, called after the data set that it was trained on.

    Attributes:
        trained: where its weights come from.
    """

    trained: Trained = field(kw_only=True)


def build_unet(channels: Sequence[int]) -> nn.Module:
    """MONAI's UNet from 3 colours to 1 logit, random weights: each level halves the size, two convolutions a level.

    Raises:
        EnvironmentFault: MONAI is not installed.
    """
    try:
        from monai.networks.nets import UNet
    except ImportError as error:
        raise EnvironmentFault(
            "method=unet needs MONAI, which is not installed: pip install 'salip_exp[unet]', or pip install monai"
        ) from error
    return UNet(2, 3, 1, tuple(channels), (2,) * (len(channels) - 1), num_res_units=2)


def squashed(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) as the network's square (side, side, 3); proportions are not kept, and no pixel is lost."""
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def standardised(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) with mean 0 and standard deviation 1 each, so that brightness and contrast do not matter."""
    deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
    return (images - mean) / deviation.clamp_min(1e-6)


@torch.inference_mode()
def logits_of(unet: LoadedUnet, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of the organ, float32 (H, W), for an image uint8 (H, W, 3): computed at the input side, then resized.

    Raises:
        CaseError: E_NONFINITE, a logit is no number.
    """
    square = torch.from_numpy(squashed(image, unet.trained.side)).permute(2, 0, 1)[None].float()
    logits = unet.net(standardised(square).to(unet.device)).float()[0, 0].cpu().numpy()
    if not np.isfinite(logits).all():
        raise CaseError("E_NONFINITE", "the U-Net's logits are not finite: check its weights, and take precision=fp32.")
    return np.asarray(cv2.resize(logits, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def weights_file(state: Mapping[str, Tensor], trained: Trained) -> bytes:
    """Weights as safetensors, with what they are in its header; the same weights give the same bytes."""
    header = {_METADATA: json.dumps(asdict(trained), sort_keys=True)}
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, header)


def load_unet(file: str | None, device: torch.device) -> LoadedUnet:
    """The network of a file that `task=train` wrote.

    Raises:
        WeightsError: no file is named or there is none, it is damaged, or it holds something else, or NaN.
        EnvironmentFault: MONAI is not installed, or the file cannot be opened.
    """
    if file is None:
        raise WeightsError(f"method=unet needs trained weights: {_TRAIN} makes them, unet.weights=FILE takes them")
    path = Path(file).expanduser()
    if not path.is_file():
        raise WeightsError(f"unet.weights={file}: no such file; check the path, or train: {_TRAIN}")
    trained, state = _read(path)
    require_finite(state, f"unet.weights={file}")
    net = build_unet(trained.channels)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"unet.weights={file} does not fit a U-Net of channels {list(trained.channels)}: train it again by {_TRAIN}"
        ) from error
    return LoadedUnet(frozen(net).to(device), trained.dataset, sha256_of(path), device, trained=trained)


def _read(path: Path) -> tuple[Trained, dict[str, Tensor]]:
    try:
        require_small_header(path)
        with safetensors.safe_open(path, framework="pt") as stream:
            facts = json.loads((stream.metadata() or {})[_METADATA])
            state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  (it is no mapping)
        return _trained(facts), state
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(f"unet.weights={path} is damaged or no U-Net of salip_exp ({reason}): {_TRAIN}") from error
    except (OSError, RuntimeError) as error:  # torch maps the file, and says in its own way that it cannot
        why = error.strerror if isinstance(error, OSError) else brief(str(error))
        raise EnvironmentFault(f"unet.weights={path} cannot be read ({why}): get access to it") from error


def _trained(facts: Any) -> Trained:
    found = Trained(**{**facts, "channels": tuple(facts["channels"]), "subjects": tuple(facts["subjects"])})
    if found.version != VERSION:
        raise ValueError(f"version {found.version}, this program reads {VERSION}")
    return found
