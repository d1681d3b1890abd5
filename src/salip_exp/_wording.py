"""How figures are written for people: a mean never without its n, a missing figure never as a number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Style = Literal["mean", "interval", "spread", "counted", "counted spread"]
"""How an estimate is written: alone, with its interval, with deviation and interval, or with its n as well."""

MISSING = "missing"
_NAMED = 5  # of many
_CHOICE = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")
_LONGEST = 2000  # letters of a message


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or the word for one that was not computed."""
    return MISSING if value is None else f"{value:z.{digits}f}"


def brief(text: str) -> str:
    """One line of a message, as much of it as people read: compilers say a hundred thousand letters."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ... ({len(line):,} letters in all)"


def some(names: Sequence[str]) -> str:
    """Names of cases or images, the first few of many."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def many(n: int, words: str) -> str:
    """A number and what agrees with it: `1 image`, `2 images` of `image`, `1 mask has` of `[mask has|masks have]`."""
    words = words if "[" in words or n == 1 else f"{words}s"
    return f"{n} {_CHOICE.sub(lambda found: found[1] if n == 1 else found[2], words)}"


def interval(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """`0.912 [0.901, 0.921]`; no ends where there was nothing to resample."""
    if estimate["mean"] is None:
        return MISSING
    ends = "–" if estimate["interval"] == "none" else f"{estimate['low']:z.{digits}f}, {estimate['high']:z.{digits}f}"
    return f"{estimate['mean']:z.{digits}f} [{ends}]"


def spread(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """`0.912 ± 0.034 [0.901, 0.921]`; no deviation of one case."""
    text = interval(estimate, digits)
    return text if estimate["sd"] is None else text.replace(" ", f" ± {estimate['sd']:.{digits}f} ", 1)


def over_seeds(over: Mapping[str, Any] | None, digits: int = 3) -> str:
    """`0.912 ± 0.013 (0.897 – 0.921)`: a mean over draws or seeds, its deviation, the least and the most."""
    if over is None:
        return MISSING
    deviation = "" if over["sd"] is None else f" ± {over['sd']:.{digits}f}"
    return f"{over['mean']:.{digits}f}{deviation} ({over['least']:.{digits}f} – {over['most']:.{digits}f})"


def mean(estimate: Mapping[str, Any] | None, style: Style, digits: int = 3) -> str:
    """An estimate in a style; the word for one that was not made, or not known to the version that summed up."""
    if estimate is None:
        return MISSING
    n = estimate["n"]
    return {
        "mean": lambda: number(estimate["mean"], digits),
        "interval": lambda: interval(estimate, digits),
        "spread": lambda: spread(estimate, digits),
        "counted": lambda: f"{number(estimate['mean'], digits)} ({n})",
        "counted spread": lambda: f"{spread(estimate, digits)} ({n} of {n + estimate['missing']})",
    }[style]()


def counted(part: Mapping[str, Any]) -> str:
    """`12`, `12 of 13` or `12 of 13 (5 subjects)`: cases with a score, of all, and of how many subjects where some
    have several.
    """
    n, cases, subjects = part["dsc"]["n"], part["cases"], part.get("subjects")
    said = str(n) if n == cases else f"{n} of {cases}"
    return said if subjects in (None, cases) else f"{said} ({many(subjects, 'subject')})"


_BETWEEN = "between groups"


def is_between(note: str) -> bool:
    """Whether a note is the one on how far groups lie apart, which is told where groups are."""
    return note.startswith(_BETWEEN)


def between_groups(gap: Mapping[str, Any]) -> str:
    """How far groups lie apart, in words."""
    ends = "" if gap["low"] is None else f" [{gap['low']:.3f}, {gap['high']:.3f}]"
    return (
        f"{_BETWEEN}: mean DSC of {gap['best']} (best) less {gap['worst']} (worst) {gap['difference']:.3f}{ends}; "
        f"that all are alike: p = {gap['p']:.3f} (Kruskal-Wallis over subjects, by permutation)"
    )


def around(figure: Mapping[str, Any], digits: int = 3) -> str:
    """`0.912 [0.801, 0.951]`: a figure with its interval, alone where it has none."""
    ends = "" if figure["low"] is None else f" [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
    return number(figure["value"], digits) + ends


def heading(title: str, style: Style, confidence: float) -> str:
    """What stands above means in a style."""
    ends = {"spread": f" mean ± sd [{100 * confidence:g} %]", "counted": " (n)"}
    return title + ends.get(style, "")


def tally(counts: Mapping[str, int], unsaid: str) -> str:
    """`clip 3, sam 1`, most frequent first, without the unremarkable one; a dash if there is nothing else."""
    rest = [(name, n) for name, n in counts.items() if name != unsaid]
    return ", ".join(f"{name} {n}" for name, n in sorted(rest, key=lambda each: (-each[1], each[0]))) or "–"


def failed(statuses: Mapping[str, int]) -> int:
    """How many cases have no prediction."""
    return sum(n for status, n in statuses.items() if status.startswith("failed"))


WORK = {
    "encoder_calls": ("encoding", "encodings"),
    "decoded_points": ("point", "points"),
    "box_decodes": ("box", "boxes"),
    "unprompted_decodes": ("image without a prompt", "images without a prompt"),
    "clip_images": ("view", "views"),
    "clip_text_forwards": ("text", "texts"),
    "unet_forwards": ("image by a U-Net", "images by a U-Net"),
}


def work(manifest: Mapping[str, Any]) -> str:
    """What the networks had to compute, and what the cache knew: `36 encodings, 9,216 points; 72 entries found`."""
    counts = manifest["counters"]
    asked = ", ".join(f"{counts[name]:,} {words[counts[name] > 1]}" for name, words in WORK.items() if counts.get(name))
    tallies = manifest["cache"].values()
    found = sum(each["hits_memory"] + each["hits_disk"] for each in tallies)
    kept = sum(each["bytes_written"] for each in tallies)
    cache = [f"{found:,} entries found in the cache"] * (found > 0) + [f"{kept / 1e6:,.1f} MB written to the cache"] * (
        kept > 0
    )
    return "; ".join([asked or "no network was asked", *cache])


def title(summary: Mapping[str, Any]) -> str:
    """What was run on what, with which weights."""
    what = f"{summary['method']} on {summary['dataset']} ({summary['roi']})"
    at = "not scored: no targets" if summary.get("doubt") else f"scored at {summary.get('score_at', 'working')} size"
    stress = f"stress={summary['stress']}" if summary.get("stress") else ""
    return ", ".join(filter(None, (what, stress, weights(summary), at)))


def weights_label(name: str, file: str, sha256: str) -> str:
    """Weights in few words, so that no other file of the same network is taken for them; a name alone of no file."""
    return f"{name}: {file} {sha256[:6]}" if file else name


def weights(summary: Mapping[str, Any]) -> str:
    """The weights of each network, and the preset where it is not the default."""
    preset = [] if summary["preset"] == "default" else [f"preset={summary['preset']}"]
    return ", ".join([*(f"{network}={name}" for network, name in summary["networks"].items()), *preset])
