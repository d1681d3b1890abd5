"""What a tracker can be told: plain data, so that it can go to another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scalar = float | int | str


@dataclass(frozen=True)
class Start:
    """A run begins; nothing else is heard before.

    Attributes:
        folder: the run folder.
        run_id: the same for a run and its resumption.
        group, job_type, name, tags: how runs are found and sorted.
        config: nested plain values.
    """

    folder: Path
    run_id: str
    project: str
    entity: str | None
    group: str
    job_type: str
    name: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Log:
    """Values at one more step of a curve, such as a finished case, a trial or an epoch.

    Names have the form `<panel>/<value>`; the value `<panel>/number`, where there is one, is the panel's x-axis.
    """

    values: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """Figures of the whole run, by name."""

    values: Mapping[str, Scalar]


@dataclass(frozen=True)
class Table:
    """Rows under a name; a cell that was not computed is None."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Bars:
    """Numbers to draw as bars, under a name.

    Attributes:
        what: they are.
        values: by the name of each bar.
    """

    name: str
    what: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Layer:
    """Regions to lay over a picture.

    Attributes:
        labels: uint8 (H, W), number of the region at each pixel; 0 is none.
        names: of the numbers.
    """

    labels: NDArray[np.uint8]
    names: Mapping[int, str]


@dataclass(frozen=True)
class Picture:
    """A case to look at.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        layers: by name, each can be shown and hidden.
    """

    caption: str
    image: NDArray[np.uint8]
    layers: Mapping[str, Layer]


@dataclass(frozen=True)
class Pictures:
    """Cases to look at, under one name."""

    name: str
    pictures: Sequence[Picture] = field(repr=False)


@dataclass(frozen=True)
class Artefact:
    """Files to keep with the run; `kind` says what they are, the run's id is added to the kind for a name."""

    kind: str
    files: Sequence[Path]


@dataclass(frozen=True)
class Workspace:
    """A view of the whole project, which a server keeps; offline there is none.

    Attributes:
        name: of the view.
        sections: names of figures, by section and title of the panel that draws them; the first section is open.
    """

    name: str
    sections: Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class End:
    """The run is over; an exit code other than 0 marks it as failed."""

    exit_code: int


Event = Start | Log | Summary | Table | Bars | Pictures | Artefact | Workspace | End
