"""The two official packages, imported once, with their known import failures put into one sentence.

Take them from here wherever the import may be the first of the process.
"""

from __future__ import annotations

import warnings

from salip_exp.errors import EnvironmentFault

try:
    import segment_anything
    from segment_anything.modeling import Sam
except (ImportError, RuntimeError) as fault:
    # segment_anything imports torchvision, whose operators exist only beside the torch it was built with.
    raise EnvironmentFault(
        f"the package segment_anything cannot be imported ({str(fault).splitlines()[0]}): torch and torchvision come "
        "from different builds or are missing; install both in one command from one index: "
        "pip install --force-reinstall torch torchvision segment-anything"
    ) from fault

try:
    with warnings.catch_warnings():
        # The clip package still reads its own version through pkg_resources; nothing a user could do about it.
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=DeprecationWarning)
        import clip
        from clip.model import CLIP, build_model
except ImportError as fault:
    raise EnvironmentFault(
        f"the package clip cannot be imported ({fault}): it needs setuptools below 81 and OpenAI's package, "
        "not the one called clip on PyPI; pip uninstall -y clip, then pip install openai-clip 'setuptools<81'"
    ) from fault

__all__ = ["CLIP", "Sam", "build_model", "clip", "segment_anything"]
