"""SaLIP: zero-shot segmentation of organs in medical images by a cascade of SAM and CLIP, and experiments with it.

    from salip_exp import SaLIP

    segment = SaLIP(organ="lungs", sam="tiny", clip="tiny")
    segment("chest.png").mask

`python -m salip_exp` is the other way in; of the modules, names without a leading underscore are meant to be used.
"""

from importlib.metadata import version
from pkgutil import resolve_name

__version__ = version("salip_exp")

_OF = {
    "SaLIP": "salip_exp.api.model",
    "Segmentation": "salip_exp.api.result",
    "read_run": "salip_exp.api.runs",
    "RunTables": "salip_exp.api.runs",
    "SalipError": "salip_exp.errors",
}
"""Where a name is made; it is imported when it is asked for, so that `import salip_exp` loads no network."""

__all__ = ["__version__", *_OF]


def __getattr__(name: str) -> object:
    """What the package gives by name."""
    if name not in _OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(f"{_OF[name]}:{name}")


def __dir__() -> list[str]:
    return __all__
