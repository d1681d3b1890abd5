"""`task=explore`: a page on this machine to try sentences, thresholds and boxes on any data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.text import Text

from salip_exp._console import wide_console
from salip_exp._exploring.explorer import Explorer
from salip_exp._exploring.from_run import from_run
from salip_exp._exploring.server import serve
from salip_exp._serving import bound
from salip_exp.config import Config


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Serve the page until Ctrl-C, which is how this ends, and so no fault.

    Returns:
        0.

    Raises:
        ConfigError: `explore.run` does not go with what else was typed, or `explore.case` is none of the data.
        DataError, WeightsError: there is nothing to explore.
        EnvironmentFault: the extra is missing, or the port is in use.
    """
    overrides = list(HydraConfig.get().overrides.task)
    if config.explore.run is not None:
        config, overrides = from_run(config, overrides)
    with bound(config.explore.port, "explore.port") as listening:
        explorer = Explorer(config, folder)
        said = f"shows {len(explorer.dataset.refs):,} cases of {explorer.dataset.name}; Ctrl-C ends it"
        serve(listening, explorer, overrides, lambda address: wide_console().print(Text(f"{address} {said}")))
    return 0
