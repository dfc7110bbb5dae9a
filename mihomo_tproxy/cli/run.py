"""`mihomo-tproxy run`: the gateway, in the foreground, logging to stderr."""

from __future__ import annotations

import logging
import time

from mihomo_tproxy.cli.files import config_path
from mihomo_tproxy.dataplane.links import check_privileges
from mihomo_tproxy.printing import printable
from mihomo_tproxy.supervisor import Supervisor


class MihomoFormatter(logging.Formatter):
    """Log lines as mihomo prints them: `time="..." level=info msg="..."`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; exceptions follow it as Python prints them."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        text = record.getMessage().replace("\\", "\\\\").replace('"', '\\"')
        said = f"[{record.name}] {printable(text)}"
        line = f'time="{stamp}" level={record.levelname.lower()} msg="{said}"'
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def run(file: str | None, directory: str | None) -> int:
    """Run until SIGTERM or SIGINT; the arguments are those of `-f` and `-d`."""
    handler = logging.StreamHandler()
    handler.setFormatter(MihomoFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # At our `debug` it would tell every netlink message, megabytes for each reload.
    logging.getLogger("pyroute2").setLevel(logging.WARNING)
    path = config_path(file, directory)
    check_privileges()
    Supervisor(path, directory or "").run()
    return 0
