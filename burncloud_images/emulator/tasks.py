"""Tasks: requests that were accepted and billed, and whose images are asked for later."""

from __future__ import annotations

import json
import uuid
from typing import Literal

import attrs

from burncloud_images.emulator.errors import HTTPAnswer, RefusedRequest

TaskFault = Literal["forgotten", "failed", "refunded", "endless"]

PREFIX = "/v1/images/tasks/"
STATES = ("queued", "in_progress", "succeeded")
"""What is answered to one question after another; the last state stays."""
WAIT_HEADER = "Retry-After-Ms"


@attrs.define(kw_only=True)
class EmulatedTask:
    """
    One task.

    Attributes:
        id: Its id.
        number: Of the ledger entry of its request.
        answer: What the request would have been answered at once.
        fault: What becomes of it in place of that.
        asked: How often it was asked for.
    """

    id: str
    number: int
    answer: bytes = attrs.field(repr=False)
    fault: TaskFault | None = None
    asked: int = 0

    @property
    def state(self) -> str:
        """How far it is."""
        state = STATES[min(self.asked, len(STATES) - 1)]
        if state == STATES[-1] and self.fault is not None:
            return "in_progress" if self.fault == "endless" else "failed"
        return state


class TaskList:
    """
    The tasks of a server.

    Attributes:
        wait: Seconds after which it asks to be asked again.
    """

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.tasks: dict[str, EmulatedTask] = {}

    @property
    def headers(self) -> dict[str, str]:
        """What an answer about a task that goes on says beside its document."""
        return {"Content-Type": "application/json", WAIT_HEADER: str(max(1, round(self.wait * 1000)))}

    def accept(self, number: int, answer: HTTPAnswer, fault: TaskFault | None) -> tuple[EmulatedTask, HTTPAnswer]:
        """Make a task of a request whose images have been made, and return it and the answer that names it."""
        task = EmulatedTask(id=f"task_{uuid.uuid4().hex}", number=number, answer=answer.body, fault=fault)
        self.tasks[task.id] = task
        headers = {**self.headers, "Location": f"{PREFIX}{task.id}"}
        return task, HTTPAnswer(status=202, body=json.dumps(describe(task)).encode(), headers=headers)

    def ask(self, task_id: str) -> EmulatedTask:
        """
        Return a task that is asked for once more.

        Raises:
            RefusedRequest: There is no such task, or it was forgotten.
        """
        task = self.tasks.get(task_id)
        if task is None or task.fault == "forgotten":
            raise RefusedRequest(f"There is no task {task_id!r}.", code="task_not_found", status=404)
        task.asked += 1
        return task

    def answer(self, task: EmulatedTask) -> HTTPAnswer:
        """Return what is answered about *task*."""
        about = describe(task)
        if task.state == "failed":
            error = {"message": "The images could not be made.", "type": "server_error", "code": "task_failed"}
            refund = {"refund_status": "refunded"} if task.fault == "refunded" else {}
            return HTTPAnswer(body=json.dumps({**about, "error": error, **refund}).encode())
        if task.state == STATES[-1]:
            return HTTPAnswer(body=json.dumps(about)[:-1].encode() + b", " + task.answer[1:])
        return HTTPAnswer(body=json.dumps(about).encode(), headers=self.headers)


def describe(task: EmulatedTask) -> dict[str, object]:
    """Return what an answer says about *task* in any state."""
    return {"id": task.id, "object": "image.generation.task", "status": task.state}
