"""The emulator with a meter: `python -m bench.metered_emulator INTERPRETER LOG`.

The file that BENCH_METER names gets a JSON line for each invocation of a function and for each call
that a function makes to AWS. `bench.meter` reads them. Nothing is changed but four things in which
the emulator's workers are unlike Lambda's, each of which would count against somebody:

* an invocation that raises leaves its worker alive, as on Lambda;
* a worker that logs nothing is not waited for 50 ms;
* Lambda's time of an invocation is measured in the worker, around the handler;
* a batch of more than ten messages is made of several polls, as Lambda does.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from local.stack import emulator_process

VARIABLE = "BENCH_METER"
SQS_BATCH = 10
_WATCHED = ("dynamodb", "sqs", "secretsmanager", "sns")
Handler = Callable[..., Awaitable[tuple[int, dict[str, str], Any]]]

# In the emulator's script of a worker: (what it has, what it gets).
_CALL = (
    "            result = handler_fn(event, context)\n"
    '            _real_stdout.write(json.dumps({"status": "ok", "result": result}) + "\\n")\n'
)
_TIMED_CALL = """\
            _began, _cpu = time.perf_counter(), time.process_time()
            _said = {"status": "ok"}
            try:
                _said["result"] = handler_fn(event, context)
            except Exception as _exc:
                _said["raised"] = [str(_exc), traceback.format_exc()]
            _said["ms"] = (time.perf_counter() - _began) * 1000
            _said["cpu_ms"] = (time.process_time() - _cpu) * 1000
            with open("/proc/self/status") as _status:
                _peaks = [line.split()[1] for line in _status if line.startswith("VmHWM")]
            _said["peak_kb"] = int(_peaks[0])
            _said["pid"] = os.getpid()
            _real_stdout.write(json.dumps(_said) + "\\n")
"""


def main() -> None:
    # They read their environment on import.
    from ministack import app  # noqa: PLC0415
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import dynamodb, lambda_svc, sqs  # noqa: PLC0415

    meter = _Meter(Path(os.environ.pop(VARIABLE)), dynamodb)
    for service in _WATCHED:
        app.SERVICE_HANDLERS[service] = meter.watching(service, app.SERVICE_HANDLERS[service])
    for module in (lambda_runtime, lambda_svc):
        if hasattr(module, "execution_credentials"):
            module.execution_credentials = meter.naming(module.execution_credentials)
    script: str = lambda_runtime._PYTHON_WORKER_SCRIPT  # noqa: SLF001
    if _CALL not in script:
        raise LookupError("the emulator's worker calls its handler otherwise than it used to")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_CALL, _TIMED_CALL)  # noqa: SLF001
    worker = lambda_runtime.Worker
    worker._drain_stderr_bounded.__defaults__ = (0.003, 0.002, 0.25)  # noqa: SLF001
    worker.invoke = meter.timing(worker.invoke)
    sqs._receive_messages_for_esm = _in_several_polls(sqs._receive_messages_for_esm)  # noqa: SLF001
    emulator_process.main()


def _in_several_polls(poll: Callable[[str, int], list[Any]]) -> Callable[[str, int], list[Any]]:
    def gathered(queue_url: str, most: int) -> list[Any]:
        taken: list[Any] = []
        while len(taken) < most and (more := poll(queue_url, min(most - len(taken), SQS_BATCH))):
            taken += more
        return taken

    return gathered


class _Meter:
    """Writes what it sees, one line each."""

    def __init__(self, file: Path, dynamodb: Any) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1)
        self._dynamodb = dynamodb
        self._lock = threading.Lock()
        self._callers: dict[str, str] = {}

    def naming(self, credentials: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
        """Remember whose key is whose."""

        def named(config: dict[str, Any]) -> dict[str, str]:
            given = credentials(config)
            self._callers[given["AWS_ACCESS_KEY_ID"]] = config["FunctionName"]
            return given

        return named

    def timing(self, invoke: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def timed(worker: Any, event: Any, *rest: Any, **named: Any) -> dict[str, Any]:
            answer = invoke(worker, event, *rest, **named)
            log = answer.get("log") or ""
            self._write(
                kind="invocation",
                function=worker.func_name,
                messages=len(event.get("Records", ())) if isinstance(event, dict) else 0,
                cold=bool(answer.get("cold_start")),
                raised="raised" in answer,
                log_lines=len(log.splitlines()),
                log_bytes=sum(len(line.encode()) for line in log.splitlines()),
                **{name: answer.get(name, 0) for name in ("ms", "cpu_ms", "peak_kb", "pid")},
            )
            if raised := answer.get("raised"):
                return answer | {"status": "error", "error": raised[0], "trace": raised[1]}
            return answer

        return timed

    def watching(self, service: str, handle: Handler) -> Handler:
        async def watched(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
        ) -> tuple[int, dict[str, str], Any]:
            caller = self._callers.get(_access_key(headers))
            if caller is None:
                return await handle(method, path, headers, body, query)
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            request = json.loads(body or b"{}") if service == "dynamodb" else {}
            before = self._sizes(action, request)
            answer = await handle(method, path, headers, body, query)
            sizes = map(max, before, self._sizes(action, request))
            self._write(
                kind="call",
                function=caller,
                service=service,
                action=action,
                status=answer[0],
                bytes=len(body),
                units=_units(
                    action, list(sizes), is_consistent=bool(request.get("ConsistentRead"))
                ),
            )
            return answer

        return watched

    def _sizes(self, action: str, request: Mapping[str, Any]) -> list[int]:
        """Return the bytes of each item that a request names, as it is now."""
        return [
            self._size(table, key)
            for table, key in _keys(action, request, self._dynamodb._tables)  # noqa: SLF001
        ]

    def _size(self, name: str, key: Mapping[str, Any]) -> int:
        table = self._dynamodb._tables.get(name)  # noqa: SLF001
        item = self._dynamodb._get_item_by_key(table, key) if table else None  # noqa: SLF001
        return int(self._dynamodb._item_size_bytes(item)) if item else 0  # noqa: SLF001

    def _write(self, **line: object) -> None:
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), **line}) + "\n")


def _access_key(headers: Mapping[str, str]) -> str:
    return headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]


def _keys(
    action: str, request: Mapping[str, Any], tables: Any
) -> list[tuple[str, Mapping[str, Any]]]:
    """Name the items of a request, as (table, key). Queries and scans are not metered."""

    def key_of(table: str, item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        known = tables.get(table) or {}
        names = [name for name in (known.get("pk_name"), known.get("sk_name")) if name]
        return table, {name: item[name] for name in names}

    match action:
        case "GetItem" | "UpdateItem" | "DeleteItem":
            return [(request["TableName"], request["Key"])]
        case "PutItem":
            return [key_of(request["TableName"], request["Item"])]
        case "TransactWriteItems":
            parts = [part for each in request["TransactItems"] for part in each.values()]
        case "BatchWriteItem":
            parts = [
                {"TableName": table, **part}
                for table, writes in request["RequestItems"].items()
                for write in writes
                for part in write.values()
            ]
        case "BatchGetItem":
            return [
                (table, key) for table, of in request["RequestItems"].items() for key in of["Keys"]
            ]
        case _:
            return []
    return [
        (part["TableName"], part["Key"])
        if "Key" in part
        else key_of(part["TableName"], part["Item"])
        for part in parts
    ]


def _units(action: str, sizes: list[int], *, is_consistent: bool) -> float:
    """Return the request units of on-demand tables: a KB written, 4 KB read, half where it may lag.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
    A write whose condition does not hold costs the same.
    """
    if action.endswith("GetItem"):
        reads = sum(max(math.ceil(size / 4096), 1) for size in sizes)
        return reads if is_consistent else reads / 2
    writes = sum(max(math.ceil(size / 1024), 1) for size in sizes)
    return 2 * writes if action.startswith("Transact") else writes


if __name__ == "__main__":
    main()
