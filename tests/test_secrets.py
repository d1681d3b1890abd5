"""What is written on its way out holds no secret, whoever said it."""

from __future__ import annotations

import logging
from logging.config import DictConfigurator
from pathlib import Path

import yaml


def test_run_log_hides_the_passwords_that_libraries_name(tmp_path: Path) -> None:
    config = yaml.safe_load((Path(__file__).parents[1] / "conf" / "config.yaml").read_text())
    told = {"version": 1, **config["hydra"]["job_logging"]}
    told["handlers"]["file"]["filename"] = str(tmp_path / "run.log")
    log = logging.Logger("of this test")
    built = DictConfigurator(told)
    built.config["formatters"]["simple"] = built.configure_formatter(built.config["formatters"]["simple"])
    log.addHandler(built.configure_handler(built.config["handlers"]["file"]))
    try:
        raise OSError("Client error '401' for url 'https://me:hunter2secret@hub.example/api'")
    except OSError:
        log.exception("exit code 4")
    log.handlers[0].close()
    written = (tmp_path / "run.log").read_text()
    assert "https://me:***@hub.example/api" in written and "hunter2" not in written
