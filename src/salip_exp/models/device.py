"""Where the networks run."""

from __future__ import annotations

import torch

from salip_exp.config import Device
from salip_exp.errors import EnvironmentFault


def pick_device(device: Device) -> torch.device:
    """The torch device that a configured name stands for; `auto` is the GPU where there is one.

    Raises:
        EnvironmentFault: `cuda` is asked for and PyTorch sees none.
    """
    found = torch.cuda.is_available()
    if device is Device.cuda and not found:
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build for the CPU only"
        raise EnvironmentFault(
            f"device=cuda: PyTorch {torch.__version__} ({build}) sees no CUDA GPU on this machine; "
            "use device=cpu or device=auto"
        )
    return torch.device("cuda" if found and device is not Device.cpu else "cpu")
