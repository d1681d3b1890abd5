"""`summary.json`: per group and overall, what the cases come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from salip_exp.config import Config, EmptyTarget, Sampler
from salip_exp.evaluation.metrics import Overlap
from salip_exp.evaluation.statistics import Estimate, estimate
from salip_exp.runs.records import CaseRecord, volumes_of

VERSION = 2
EMBEDDED_NOTE = "embedded weights: trained on synthetic images only"
SCORES = ("dsc", "iou", "hd95", "nsd")
DEFINITIONS = {
    "dsc": "Dice similarity coefficient per case, averaged over cases",
    "iou": "foreground IoU per case, averaged over cases (the paper's mIoU is read as this)",
    "hd95": "95 % Hausdorff distance in mm; missing where a mask is empty or the pixel size is unknown",
    "nsd": "surface Dice: share of both outlines that lies within score.tolerance_mm of the other",
    "hc_error, hc_abs_error": "circumference of the ellipse fitted to the prediction minus the data set's value, in mm",
    "losses": "DSC lost by failure class: sum of 1 - DSC over its cases / n; all add up to 1 minus the mean DSC",
    "volume_dsc": "Dice of whole volumes (pixel counts of their slices added up), averaged over volumes",
    "low, high": "bootstrap interval of the mean: BCa over cases, or percentile over resampled volumes",
}


def summarise(records: Sequence[CaseRecord], config: Config, networks: Mapping[str, str]) -> dict[str, Any]:
    """The summary of all cases of a run, ready for JSON: a figure that was not computed is None, never NaN.

    Args:
        records: of all cases, in the order of the data.
        config: of the run.
        networks: name of the weights of each network in use.
    """
    groups = sorted({record.group for record in records})
    return {
        "version": VERSION,
        "dataset": config.dataset.name,
        "roi": config.dataset.roi,
        "method": str(config.method),
        "preset": config.preset,
        "networks": dict(networks),
        "confidence": config.score.confidence,
        "definitions": DEFINITIONS,
        "notes": notes(records, config, networks),
        "overall": _part(records, config),
        "groups": {name: _part([each for each in records if each.group == name], config) for name in groups},
    }


def notes(records: Sequence[CaseRecord], config: Config, networks: Mapping[str, str]) -> list[str]:
    """What has to be said wherever these numbers are shown."""
    said = [EMBEDDED_NOTE] if "tiny" in networks.values() else []
    if config.tuning.score_tuning_images and (config.tuned is not None or config.tuning.sampler is not Sampler.none):
        said.append("tuned on test: the images that the settings were tuned on are scored too")
    if "unet" in networks:
        said.append(f"supervised: trained on {networks['unet']}, scored on cases that it was not trained on")
    unscored = sum(record.pixels_target is None and not record.failed for record in records)
    if unscored:
        said.append(f"{unscored} of {len(records)} images have no target: predicted, not scored")
    empty = sum(record.status == "empty_gt" for record in records)
    if empty:
        rule = {EmptyTarget.skip: "left out of every mean", EmptyTarget.one: "scored 1", EmptyTarget.zero: "scored 0"}
        said.append(
            f"{empty} of {len(records)} targets are empty: an empty prediction is "
            f"{rule[config.score.empty_target]}, any other scores 0"
        )
    failed = sum(record.failed for record in records)
    if failed:
        said.append(f"{failed} of {len(records)} cases failed and are in no mean")
    return said


def _part(records: Sequence[CaseRecord], config: Config) -> dict[str, Any]:
    clusters = volumes_of(records)
    volumes = _by_volume(records, clusters) if clusters else {}
    errors = [each.hc_error_mm for each in records]
    sizes = [None if each is None else abs(each) for each in errors]
    measured = any(each is not None for each in errors)
    return {
        "cases": len(records),
        **{name: _estimate([getattr(each, name) for each in records], config, clusters).to_dict() for name in SCORES},
        "hc_error": _estimate(errors, config, clusters).to_dict() if measured else None,
        "hc_abs_error": _estimate(sizes, config, clusters).to_dict() if measured else None,
        "volumes": len(volumes) or None,
        "volume_dsc": _estimate(_volume_scores(volumes, config), config).to_dict() if volumes else None,
        "statuses": dict(sorted(Counter(each.status for each in records).items())),
        "failures": dict(sorted(Counter(each.failure for each in records if each.failure).items())),
        "losses": losses(records),
    }


def losses(records: Sequence[CaseRecord]) -> dict[str, float]:
    """How much DSC each stage loses: by failure class, the sum of 1 - DSC over its cases, divided by all cases' n.

    They add up to 1 minus the mean DSC over the cases that have one. Good cases (`none`) lose a little along their
    outline. Cases without a failure go under their status: `empty_gt`, or `ok` where a U-Net has no stages to blame.
    """
    scored = [(each.failure or each.status, each.dsc) for each in records if each.dsc is not None]
    lost: dict[str, float] = {name: 0.0 for name, _ in sorted(scored)}
    for name, dsc in scored:
        lost[name] += (1.0 - dsc) / len(scored)
    return lost


def _estimate(scores: Sequence[float | None], config: Config, clusters: Sequence[str] | None = None) -> Estimate:
    return estimate(scores, clusters, config.score.resamples, config.score.confidence, config.seed)


def _by_volume(records: Sequence[CaseRecord], clusters: Sequence[str]) -> dict[str, list[CaseRecord]]:
    """Records by the volume that they are slices of."""
    volumes: dict[str, list[CaseRecord]] = {}
    for record, cluster in zip(records, clusters, strict=True):
        volumes.setdefault(cluster, []).append(record)
    return volumes


def _volume_scores(volumes: Mapping[str, Sequence[CaseRecord]], config: Config) -> list[float | None]:
    """DSC of each volume; None for one with a slice that has no score, which would be another volume."""
    return [_volume_score([each.overlap for each in slices], config.score.empty_target) for slices in volumes.values()]


def _volume_score(overlaps: Sequence[Overlap | None], empty: EmptyTarget) -> float | None:
    whole = [each for each in overlaps if each is not None]
    return sum(whole, Overlap(0, 0, 0)).dice(empty) if len(whole) == len(overlaps) else None
