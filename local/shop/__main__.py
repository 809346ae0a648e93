"""Run the shop: `python -m local.shop --port N --stack-file FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvicorn

from local import LOOPBACK
from local.serving import serve
from local.shop.app import build_app


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.shop", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stack-file", type=Path, required=True, help="what `make up` wrote")
    options = parser.parse_args()
    config = uvicorn.Config(
        build_app(options.stack_file),
        host=LOOPBACK,
        port=options.port,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    serve(uvicorn.Server(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
