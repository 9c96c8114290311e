# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log files in the format of the real ones."""

import datetime
import logging
import logging.handlers


class _EdgeFormatter(logging.Formatter):
    def format(self, record):
        time = datetime.datetime.fromtimestamp(record.created)
        level = "WARN" if record.levelname == "WARNING" else record.levelname
        text = f"{time:%Y-%m-%d %H:%M:%S},{time.microsecond // 1000:03d} {level} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _WrapperFormatter(logging.Formatter):
    def format(self, record):
        time = datetime.datetime.fromtimestamp(record.created)
        return f"STATUS | wrapper  | {time:%Y/%m/%d %H:%M:%S} | {record.getMessage()}"


def open_logs(home):
    """Return the loggers of edgeencryption.log and wrapper.log; both reopen a file that was rotated away."""
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    found = []
    for name, formatter in (("edgeencryption", _EdgeFormatter()), ("wrapper", _WrapperFormatter())):
        handler = logging.handlers.WatchedFileHandler(logs / f"{name}.log", encoding="utf-8")
        handler.setFormatter(formatter)
        logger = logging.getLogger(f"edgelab.proxy.{name}")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers = [handler]
        found.append(logger)
    return found
