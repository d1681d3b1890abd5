"""Settings that go together, and still spoil what the numbers say. Those that contradict each other are refused
before any task begins (`validate.py`)."""

from __future__ import annotations

from collections.abc import Iterator

from salip_exp.checking.finding import Finding, fine, warning
from salip_exp.config import Config

AREA = "settings"


def settings_findings(config: Config) -> Iterator[Finding]:
    """What a reader of the results would have to be told."""
    yield fine(AREA, f"method={config.method} dataset={config.dataset.name} preset={config.preset} go together")
    if config.tuning.score_tuning_images:
        yield warning(
            AREA,
            "tuning.score_tuning_images=true: images that settings are tuned on are scored too, and every table says "
            "so; false leaves them out",
        )
    embedded = [name for name, part in (("sam", config.sam), ("clip", config.clip)) if part.name == "tiny"]
    if embedded and config.dataset.phantom is None:
        chosen = " and ".join(f"{name}=tiny" for name in embedded)
        yield warning(
            AREA,
            f"{chosen} on real images: embedded weights are trained on synthetic images only, and every table says so; "
            "sam=vit_h clip=vit_l_14 are the paper's",
        )
    if config.max_failed > 0:
        yield warning(AREA, f"max_failed={config.max_failed}: so large a share of cases may fail with exit code 0")
