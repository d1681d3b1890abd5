"""The process in which wandb lives: it reads events from stdin, passes them to wandb, and says on stdout how that went.

wandb starts a service of its own, talks to a server, registers exit hooks and prints. In a process apart it can be
slow, hang or die as it likes: the run does not wait for it, and ends it when patience does. What it prints goes to the
log that this process was given as stderr.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from salip_exp._tracking.events import (
    Artefact,
    Bars,
    End,
    Event,
    Log,
    Picture,
    Pictures,
    Start,
    Summary,
    Table,
    Workspace,
)

IMPORTED, READY, DONE, FAILED = "imported", "ready", "done", "failed"
"""What this process says: wandb is there; the run is open; all is written or sent; it ended early, and why."""
_GIVEN_UP = re.compile(r"^wandb: (?:WARNING|ERROR) (Fatal error[^.\n]*)", re.MULTILINE)
SHARE = 0.8  # of the patience: wandb gives its reason before it is ended


def main() -> None:
    """Serve one run.

    Arguments are the mode (`offline` or `online`), the patience in seconds, and the file that stderr goes to.
    """
    mode, patience, written = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    before = len(written.read_text(errors="replace"))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(word: str, why: str = "") -> None:
        answers.write(json.dumps([word, why]) + "\n")
        answers.flush()

    try:
        events = _events(sys.stdin.buffer)
        start = next(events)
        import wandb

        say(IMPORTED)
        run = _open_run(wandb, start, mode, patience)
        say(READY)
        lost = serve(wandb, run, start, events) or _given_up(written.read_text(errors="replace")[before:])
        say(FAILED, lost) if lost else say(DONE)
    except Exception as error:
        traceback.print_exc()
        say(FAILED, _shown(error))


def _open_run(wandb: Any, start: Start, mode: str, patience: float) -> Any:
    """The wandb run: no code, no git, no facts of the machine other than those in the configuration."""
    waits = {"init_timeout": SHARE * patience, "login_timeout": SHARE * patience, "finish_timeout": SHARE * patience}
    settings = wandb.Settings(
        **(waits if mode == "online" else {}),
        finish_timeout_raises=True,
        silent=True,
        console="off",
        symlink=False,
        stop_fn=_not_stopped,
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        host="",
        program="",
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        mode=mode,
        dir=str(start.folder),
        id=start.run_id,
        resume="allow" if mode == "online" else None,
        project=start.project,
        entity=start.entity,
        group=start.group,
        job_type=start.job_type,
        name=start.name,
        tags=start.tags,
        config=dict(start.config),
        settings=settings,
    )
    for panel in ("case", "tuning", "epoch"):
        run.define_metric(f"{panel}/*", step_metric=f"{panel}/number", summary="none")
    run.define_metric("running/*", step_metric="case/number")
    return run


def _given_up(printed: str) -> str:
    """What wandb printed about an upload that it gave up, of which it tells its caller nothing; else nothing.

    Args:
        printed: all that it printed.
    """
    found = _GIVEN_UP.search(printed)
    return found[1] if found else ""


def _not_stopped() -> None:
    """What the stop button of wandb's page does here: a run is stopped where it runs."""


def serve(wandb: Any, run: Any, start: Start, events: Iterator[Event]) -> str:
    """Pass everything on and end the run; returns why something could not be, or nothing."""
    told = Told(wandb, run, start.run_id)
    exit_code = 1  # of a run that was killed before it could say how it ended
    lost = ""
    for event in events:
        if isinstance(event, End):
            exit_code = event.exit_code
            break
        try:
            told(event)
        except Exception as error:  # what comes after it may well be taken
            traceback.print_exc()
            lost = lost or _shown(error)
    run.finish(exit_code=exit_code)
    wandb.teardown(exit_code)
    return lost


@dataclass
class Told:
    """Passes events on to a wandb run.

    Attributes:
        step: of the last Log. A resumed run is told all that it was told before, and an online one leaves out the
            steps that the server has; so tables and pictures, which come last, take no step of their own.
    """

    wandb: Any
    run: Any
    run_id: str
    step: int = -1

    def __call__(self, event: Event) -> None:
        """Pass one event on."""
        match event:
            case Log(values):
                self.step += 1
                self.run.log(dict(values), step=self.step)
            case Summary(values):
                self.run.summary.update(dict(values))
            case Table(name, columns, rows):
                self._show(name, self.wandb.Table(columns=list(columns), data=[list(row) for row in rows]))
            case Bars(name, what, values):
                table = self.wandb.Table(columns=["bar", what], data=[list(each) for each in values.items()])
                self._show(name, self.wandb.plot.bar(table, "bar", what, title=name))
            case Pictures(name, pictures):
                self._show(name, [self._image(each) for each in pictures])
            case Artefact(kind, files):
                artefact = self.wandb.Artifact(f"{kind}-{self.run_id}", kind)
                for file in files:
                    artefact.add_file(str(file), policy="immutable", skip_cache=True)  # read where it lies, not copied
                self.run.log_artifact(artefact)
            case Workspace() if not self.run.offline:  # of a run that is told offline after all, the warning says so
                _save(event, self.run.entity, self.run.project)

    def _show(self, name: str, content: Any) -> None:
        self.run.log({name: content}, step=max(self.step, 0))

    def _image(self, picture: Picture) -> Any:
        masks: Mapping[str, Any] = {
            name: {"mask_data": layer.labels, "class_labels": dict(layer.names)}
            for name, layer in picture.layers.items()
        }
        return self.wandb.Image(picture.image, caption=picture.caption, masks=masks)


def _save(view: Workspace, entity: str, project: str) -> None:
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces.reports.v2 import BarPlot

    sections = [
        workspaces.Section(name, [BarPlot(title=title, metrics=list(each)) for title, each in panels.items() if each])
        for name, panels in view.sections.items()
    ]
    sections[0].is_open = sections[0].pinned = True
    workspaces.Workspace(name=view.name, entity=entity, project=project, sections=sections).save()


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _events(stream: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):  # the run's process is gone, perhaps in the middle of a word
            return


if __name__ == "__main__":
    main()
