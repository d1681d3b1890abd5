"""`study.html`, a page that needs no other file, and the plots as files of their own in `plots/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salip_exp.reporting.index import INDEX, address
from salip_exp.reporting.page import write_html
from salip_exp.running.files import atomic_write

PLOTS = "plots"


def write_page(folder: Path, figures: Mapping[str, Any], report: Mapping[str, Any], outputs: Path) -> None:
    """Write the page, and every figure as a file that shares one copy of Plotly's program with the others.

    Args:
        folder: of the study.
        figures: by name.
        report: what `study.json` holds.
        outputs: where the page over all runs lies.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    from plotly.offline import get_plotlyjs

    program = get_plotlyjs()
    atomic_write(folder / PLOTS / "plotly.min.js", program)
    for name, figure in figures.items():
        atomic_write(folder / PLOTS / f"{name}.html", figure.to_html(include_plotlyjs="directory"))
    fragments = [
        figure.to_html(full_html=False, include_plotlyjs=False, div_id=name) for name, figure in figures.items()
    ]
    index = address(outputs / INDEX, folder)
    values = {"report": report, "program": program, "fragments": fragments}
    write_html(folder / "study.html", "tuning.html.j2", index=index, **values)
