"""What people see of a run and of a study: progress and tables on the terminal, pictures, pages."""

from __future__ import annotations

from contextlib import ExitStack

from salip_exp._console import Report, progress
from salip_exp._reports.overlays import remembering, write_figures
from salip_exp._reports.run_page import write_page
from salip_exp._reports.strips import write_strips
from salip_exp._reports.terminal import show
from salip_exp._settings.folders import File
from salip_exp.evaluation.statistics import RunningMean
from salip_exp.runs.folder import write_json
from salip_exp.runs.listener import Listener, Run


class CaseProgress(Listener):
    """How far a run is, and its mean DSC so far."""

    def __init__(self) -> None:
        self._mean, self._said = RunningMean(), "no score yet"
        self._stack = ExitStack()
        self._report: Report

    def began(self, run: Run) -> None:
        """Open the bar."""
        self._report = self._stack.enter_context(progress(len(run.dataset.refs), run.config.progress, "case"))

    def case(self, run: Run) -> None:
        """One case further."""
        dsc = run.records[-1].dsc
        if dsc is not None:
            self._said = f"mean DSC {self._mean.add(dsc):.3f} (n={self._mean.n})"
        self._report(self._said)

    def scored(self, run: Run) -> None:
        """Close the bar."""
        self._stack.close()

    def ended(self, code: int) -> None:
        """Close the bar of a run that was stopped."""
        self._stack.close()


class Pictures(Listener):
    """Overlays and strips of chosen cases, and `pictures.json`, which says whose they are."""

    def scored(self, run: Run) -> None:
        """Draw them; for a strip the method is asked again."""
        refs = remembering(run.dataset.refs)
        figures = write_figures(run.folder, refs, run.records, run.config.figures, run.config.seed)
        strips = write_strips(run.folder, refs, run.records, run.method, run.config)
        write_json(run.folder / File.pictures, {"figures": figures, "strips": strips})


class RunPage(Listener):
    """`report.html` and `cases.js`."""

    def finished(self, run: Run) -> None:
        """Write both."""
        write_page(run.folder)


class RunTable(Listener):
    """The table by group on stdout, and what to type next."""

    def finished(self, run: Run) -> None:
        """Print it."""
        show(run.folder, run.config.outputs, run.command)
