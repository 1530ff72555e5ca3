"""loguru is the logger of flows and tasks; Prefect stores what it says with the run it was said in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from loguru import logger
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

if TYPE_CHECKING:
    from loguru import Message

_LOGURU_ONLY = {"SUCCESS": logging.INFO, "TRACE": logging.DEBUG}


def forward_to_prefect() -> None:
    """Afterwards each record of loguru is also in the logs of the task run or flow run in which it was made."""
    logger.add(_forward, format="{message}", level="DEBUG")


def _forward(message: Message) -> None:
    record = message.record
    try:
        run_logger = get_run_logger()
    except MissingContextError:
        # Outside a run there is nothing to store it with; loguru's other sinks have it.
        return
    run_logger.log(_LOGURU_ONLY.get(record["level"].name, record["level"].no), record["message"])
