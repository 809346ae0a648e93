"""The emulator's own process: `python -m local.stack.emulator_process INTERPRETER LOG`.

INTERPRETER runs the Lambda workers. LOG gets what the functions print, as CloudWatch Logs does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the emulator until it is told to stop."""
    interpreter, log = sys.argv.pop(1), Path(sys.argv.pop(1))
    # They read their environment on import.
    from ministack import app  # noqa: PLC0415
    from ministack.core import iam_actions  # noqa: PLC0415
    from ministack.services import apigateway, lambda_svc  # noqa: PLC0415

    # The emulator starts each worker with `sys.executable`.
    sys.executable = interpreter
    lambda_svc._emit_lambda_logs = _also_to(log, lambda_svc._emit_lambda_logs)  # noqa: SLF001
    _let_preflights_reach_their_routes(apigateway)
    _tell_leading_keys(iam_actions)
    app.main()


def _also_to(log: Path, emit: Callable[..., None]) -> Callable[..., None]:
    """Wrap what puts an invocation's output into CloudWatch Logs."""

    def emit_to_both(function: Any, request_id: str, text: str, *rest: Any, **named: Any) -> None:
        if text:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{text.rstrip()}\n")
        emit(function, request_id, text, *rest, **named)

    return emit_to_both


def _let_preflights_reach_their_routes(apigateway: Any) -> None:
    """Our API has no CORS of its own: AWS sends OPTIONS to its routes, the emulator says 403.

    It looks for the method in capitals, so in small letters it passes as far as the route.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    """
    handle, match = apigateway._handle_execute_in_scope, apigateway._match_route  # noqa: SLF001
    invoke = apigateway._invoke_lambda_proxy  # noqa: SLF001

    async def handle_in_small_letters(
        api: str, stage: str, path: str, method: str, *rest: Any, **named: Any
    ) -> Any:
        in_small_letters = method.lower() if method == "OPTIONS" else method
        return await handle(api, stage, path, in_small_letters, *rest, **named)

    def match_in_capitals(api: str, method: str, path: str) -> Any:
        return match(api, method.upper(), path)

    async def invoke_in_capitals(
        integration: Any, api: str, stage: str, path: str, method: str, *rest: Any, **named: Any
    ) -> Any:
        return await invoke(integration, api, stage, path, method.upper(), *rest, **named)

    apigateway._handle_execute_in_scope = handle_in_small_letters  # noqa: SLF001
    apigateway._match_route = match_in_capitals  # noqa: SLF001
    apigateway._invoke_lambda_proxy = invoke_in_capitals  # noqa: SLF001


def _tell_leading_keys(iam_actions: Any) -> None:
    """AWS tells a policy which item is asked for; the emulator does not, and so refuses none.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    Of a table whose key is one attribute, as ours is.
    """
    told = iam_actions.dynamodb_service_context

    def with_leading_keys(body: bytes) -> dict[str, Any]:
        request = json.loads(body or b"{}")
        keys = [next(iter(part.values())) for part in request.get("Key", {}).values()]
        return {**told(body), **({"dynamodb:LeadingKeys": keys} if keys else {})}

    iam_actions.dynamodb_service_context = with_leading_keys


if __name__ == "__main__":
    main()
