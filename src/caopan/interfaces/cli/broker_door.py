"""Where a broker's own process is, as a person names it: `--broker` and `--token-file`.

Owns `read_door`. Must never read the token. Tests: tests/integration/trader.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from caopan.interfaces.cli.output import Cli
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from caopan.bootstrap.broker_line import BrokerDoor

_LOOPBACK: Final = "127.0.0.1"
_MOST_PORT: Final = 65535


def read_door(cli: Cli, broker: str | None, token_file: Path | None) -> BrokerDoor | None:
    """Return the socket, or the port of this machine; None where no broker is named.

    Raises ConfigInvalid USAGE.
    """
    from caopan.bootstrap.broker_line import BrokerDoor

    if broker is None:
        if token_file is not None:
            raise ConfigInvalid("USAGE", "--token-file is of use with --broker only")
        return None
    token = token_file or cli.settings.home / "broker.token"
    if not broker.isdecimal():
        return BrokerDoor(Path(broker), token)
    if not 0 < int(broker) <= _MOST_PORT:
        raise ConfigInvalid("USAGE", f"--broker {broker} is no port", remedy="1 to 65535")
    return BrokerDoor((_LOOPBACK, int(broker)), token)
