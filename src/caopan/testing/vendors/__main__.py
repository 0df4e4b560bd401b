"""A fake vendor as a process: `python -m caopan.testing.vendors deepseek --port 9001`.

Owns the command line. Prints the base URL and serves until it is interrupted. Never used by
production code.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from caopan.testing.vendors.dashscope import DashScope
from caopan.testing.vendors.deepseek import DeepSeek
from caopan.testing.vendors.misbehaving import Misbehaving
from caopan.testing.vendors.ollama import Ollama
from caopan.testing.vendors.wire import Vendor

VENDORS: dict[str, type[Vendor]] = {
    "deepseek": DeepSeek,
    "dashscope": DashScope,
    "ollama": Ollama,
    "misbehaving": Misbehaving,
}


async def serve(vendor: Vendor, port: int) -> None:
    """Serve until cancelled."""
    async with vendor.open(port=port) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m caopan.testing.vendors")
    parser.add_argument("vendor", choices=sorted(VENDORS))
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    asked = parser.parse_args()
    try:
        asyncio.run(serve(VENDORS[asked.vendor](), asked.port))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
