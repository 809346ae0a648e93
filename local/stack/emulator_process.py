"""The emulator's own process: `python -m local.stack.emulator_process INTERPRETER LOG`.

INTERPRETER runs the Lambda workers. LOG gets what the functions print, as CloudWatch Logs does.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the emulator until it is told to stop."""
    interpreter, log = sys.argv.pop(1), Path(sys.argv.pop(1))
    # They read their environment on import.
    from ministack import app  # noqa: PLC0415
    from ministack.services import lambda_svc  # noqa: PLC0415

    # The emulator starts each worker with `sys.executable`.
    sys.executable = interpreter
    lambda_svc._emit_lambda_logs = _also_to(log, lambda_svc._emit_lambda_logs)  # noqa: SLF001
    app.main()


def _also_to(log: Path, emit: Callable[..., None]) -> Callable[..., None]:
    """Wrap what puts an invocation's output into CloudWatch Logs."""

    def emit_to_both(function: Any, request_id: str, text: str, *rest: Any, **named: Any) -> None:
        if text:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{text.rstrip()}\n")
        emit(function, request_id, text, *rest, **named)

    return emit_to_both


if __name__ == "__main__":
    main()
