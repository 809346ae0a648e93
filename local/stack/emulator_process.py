"""The emulator's own process: `python -m local.stack.emulator_process INTERPRETER LOG`.

INTERPRETER runs the Lambda workers. LOG gets what the functions print, as CloudWatch Logs does.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the emulator until it is told to stop."""
    interpreter, log = sys.argv.pop(1), Path(sys.argv.pop(1))
    # They read their environment on import.
    from ministack import app  # noqa: PLC0415
    from ministack.core import iam_actions, lambda_runtime  # noqa: PLC0415
    from ministack.services import apigateway, cloudwatch_logs, lambda_svc  # noqa: PLC0415

    # The emulator starts each worker with `sys.executable`.
    sys.executable = interpreter
    lambda_svc._emit_lambda_logs = _also_to(log, lambda_svc._emit_lambda_logs)  # noqa: SLF001
    _wait_for_all_that_was_logged(lambda_runtime)
    _let_preflights_reach_their_routes(apigateway)
    _tell_leading_keys(iam_actions)
    _page_through_logs(cloudwatch_logs)
    app.main()


def _also_to(log: Path, emit: Callable[..., None]) -> Callable[..., None]:
    """Wrap what puts an invocation's output into CloudWatch Logs."""

    def emit_to_both(function: Any, request_id: str, text: str, *rest: Any, **named: Any) -> None:
        if text:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{text.rstrip()}\n")
        emit(function, request_id, text, *rest, **named)

    return emit_to_both


_LOGGED = "cometly-forwarder: all of this invocation is logged"
_LOGGED_WITHIN = 10.0


def _wait_for_all_that_was_logged(runtime: Any) -> None:
    """Let a worker mark the end of an invocation's log, and read as far as that mark.

    The emulator takes what it can read within milliseconds of the answer. On a busy machine the
    rest then waits for the worker's next invocation, which may never come.
    """
    answered = "        _real_stdout.flush()\n\nrun()"
    script = runtime._PYTHON_WORKER_SCRIPT  # noqa: SLF001
    if answered not in script:
        raise RuntimeError("this ministack's worker ends an invocation in another way")
    marked = f'        sys.stderr.write("{_LOGGED}\\n")\n        sys.stderr.flush()\n{answered}'
    runtime._PYTHON_WORKER_SCRIPT = script.replace(answered, marked)  # noqa: SLF001
    runtime.Worker._drain_stderr_bounded = _all_logged  # noqa: SLF001


def _all_logged(worker: Any) -> str:
    lines: list[str] = []
    deadline = time.monotonic() + _LOGGED_WITHIN
    while time.monotonic() < deadline:
        try:
            line = worker._stderr_queue.get(timeout=0.25)  # noqa: SLF001
        except queue.Empty:
            if worker._proc is None:  # noqa: SLF001 - it has died, and left no mark
                break
            continue
        if line == _LOGGED:
            break
        lines.append(line)
    return "\n".join(lines)


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


_MOST_LINES = 10_000


def _page_through_logs(logs: Any) -> None:
    """Say where the rest of a log begins: the emulator leaves out what is beyond 10,000 lines.

    A token of ours is the time of a page's last line, and how many lines of that time it brought.
    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
    """
    filtered = logs._filter_log_events  # noqa: SLF001

    def with_token(request: dict[str, Any]) -> Any:
        since, _, known = str(request.get("nextToken", "")).partition(":")
        status, headers, body = filtered(
            {**request, **({"startTime": int(since)} if since else {})}
        )
        answer = json.loads(body)
        found = answer.get("events", [])
        if len(found) == min(request.get("limit", _MOST_LINES), _MOST_LINES):
            last = found[-1]["timestamp"]
            of_that_time = sum(it["timestamp"] == last for it in found)
            # Of a time that has more lines than a page, the rest is left out, as before.
            if last != found[0]["timestamp"]:
                answer["nextToken"] = f"{last}:{of_that_time}"
        answer["events"] = found[int(known or 0) :]
        return status, headers, json.dumps(answer).encode()

    logs._filter_log_events = with_token  # noqa: SLF001


if __name__ == "__main__":
    main()
