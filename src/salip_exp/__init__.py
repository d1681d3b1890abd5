"""SaLIP: zero-shot segmentation of organs in medical images by a cascade of SAM and CLIP, and experiments with it.

`python -m salip_exp` is the way in; of the modules, names without a leading underscore are meant to be used.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("salip_exp")
