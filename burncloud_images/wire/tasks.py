"""
What a document says about a task: a request that the server has accepted and works on, and is asked about later.

No document of the API describes tasks. What is here is what servers and their clients write; all of it is optional but
an id, and names and states are spelt in many ways.

Source: new-api and forks of it, sub2api, EvoLink, APIMart, PiAPI, ModelScope, Zhipu, DashScope; RFC 7240 §4.1.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urljoin, urlsplit

import attrs

from burncloud_images.results import Task
from burncloud_images.wire.base_url import is_loopback
from burncloud_images.wire.places import find_containers

IDS = ("task_id", "taskId", "taskid", "TaskId", "task-id", "job_id", "jobId", "generation_id", "prediction_id")
PLAIN_IDS = ("id", "request_id", "uuid")
"""Ids that may be of something else; they count beside a state, or where the answer is a task for another reason."""
STATES = ("status", "task_status", "taskStatus", "state", "task_state", "Status")
TELLING = frozenset({*IDS, *PLAIN_IDS, *STATES})
"""Without one of these names, a document says nothing about a task."""
POLL_URLS = (
    *("poll_url", "polling_url", "pollUrl", "status_url", "statusUrl", "task_url", "query_url", "fetch_url"),
    *("check_url", "get_url"),
)
LINKS = (("urls", "get"), ("links", "status"), ("links", "self"), ("_links", "self"), ("links", "get"))
WAITS = (("retry_after", 1.0), ("retry_after_seconds", 1.0), ("poll_interval", 1.0), ("retry_after_ms", 0.001))
ID_HEADERS = ("x-task-id", "x-job-id")
URL_HEADERS = ("location", "operation-location", "content-location")
OBJECT = re.compile(r"task|async|job|prediction", re.IGNORECASE)
REASONS = (
    *("fail_reason", "failReason", "failure_reason", "error_message", "errorMessage", "error_msg", "err_msg", "reason"),
    *("message", "msg", "detail"),
)
CODES = ("error_code", "errorCode", "fail_code", "code")
MOST_ID = 500
LONGEST_WAIT = 120.0
"""A server may ask for so many seconds between two polls; it would be asked sooner if it asked for more."""


class TaskState(enum.Enum):
    """What a task comes to."""

    RUNNING = enum.auto()
    SUCCEEDED = enum.auto()
    FAILED = enum.auto()
    UNKNOWN = enum.auto()
    """Nothing is said, or in a word that is not known."""


WORDS: Mapping[str, TaskState] = {
    **dict.fromkeys(
        (
            *("queued", "queue", "queueing", "queuing", "inqueue", "pending", "waiting", "wait", "notstart"),
            *("notstarted", "created", "submitted", "accepted", "scheduled", "starting", "started", "initializing"),
            *("processing", "process", "inprogress", "progress", "running", "generating", "working", "active"),
            *("dispatched", "retrying", "finalizing", "uploading", "throttled", "preparing", "staged"),
        ),
        TaskState.RUNNING,
    ),
    **dict.fromkeys(
        (
            *("succeeded", "succeed", "success", "successful", "successed", "completed", "complete", "done"),
            *("finished", "finish", "ready", "partialsuccess", "partiallysucceeded"),
        ),
        TaskState.SUCCEEDED,
    ),
    **dict.fromkeys(
        (
            *("failed", "failure", "fail", "error", "errored", "cancelled", "canceled", "aborted", "expired"),
            *("rejected", "moderated", "blocked", "timeout", "timedout", "killed", "terminated", "deleted"),
        ),
        TaskState.FAILED,
    ),
}
PREFIX = re.compile(r"^(?:task|job|generation|image)?(?:status|state)?")
OF_A_QUESTION = frozenset({"error", "fail"})
"""Words by which APIs also say how a request went, as JSend does: without the task's id they say nothing of it."""
REFUSED = frozenset({"moderated", "blocked"})
"""Failures that a content filter decided."""
REFUNDS = ("refund_status", "billing_status", "refundStatus", "billingStatus", "refund", "billing", "charge_status")
REFUNDED = frozenset(
    {"refunded", "fullyrefunded", "released", "reversed", "voided", "notcharged", "uncharged", "notbilled", "unbilled"}
)
REFUND_DONE = REFUNDED | {"succeeded", "success", "completed", "complete", "done"}


@attrs.frozen(kw_only=True)
class TaskReport:
    """
    What a document says about a task.

    Attributes:
        id: Of the task; None if it is not said.
        is_certain: Whether the document is about a task, whatever its status and headers are.
        state: What has become of it.
        word: The state as the server calls it.
        url: Where to ask again, as the server writes it.
        wait: Seconds until then.
        error: Why it failed, as an error document of the API.
        refunded: Whether the server says that it charges nothing for it.
    """

    id: str | None = None
    is_certain: bool = False
    state: TaskState = TaskState.UNKNOWN
    word: str = ""
    url: str | None = None
    wait: float | None = None
    error: Mapping[str, object] | None = attrs.field(default=None, repr=False)
    refunded: bool = False

    def says_failed(self, task_id: str) -> bool:
        """Whether the task has failed; `error` and `fail` may only say how the question about it went."""
        is_failed = self.state is TaskState.FAILED
        return is_failed and (self.id == task_id or normalize(self.word) not in OF_A_QUESTION)


def read_report(document: object) -> TaskReport | None:
    """Return what *document* says about a task; None if it names neither a task nor a state."""
    if not isinstance(document, Mapping):
        return None
    containers = list(find_containers(document))
    if all(map(TELLING.isdisjoint, containers)):  # as in most answers
        return None
    found = find_id(containers)
    home, task_id, is_named = found if found is not None else (None, None, False)
    word = find_word(containers, home)
    if task_id is None and not word:
        return None
    state = to_state(word)
    return TaskReport(
        id=task_id,
        is_certain=task_id is not None and (is_named or bool(word)),
        state=state,
        word=word,
        url=find_poll_url(containers),
        wait=find_wait(containers),
        error=find_failure(containers, word) if state is TaskState.FAILED else None,
        refunded=any(is_refunded(container) for container in containers),
    )


def find_id(containers: list[Mapping[str, object]]) -> tuple[Mapping[str, object], str, bool] | None:
    """Return the object that has the id of a task, the id, and whether it is called one."""
    for container in containers:
        for name in IDS:
            if text := to_id(container.get(name)):
                return container, text, True
    plain = [
        (container, text) for container in containers for name in PLAIN_IDS if (text := to_id(container.get(name)))
    ]
    for container, text in plain:
        if to_state(own_word(container)) is not TaskState.UNKNOWN or is_task_object(container):
            return container, text, is_task_object(container)
    return (*plain[0], False) if plain else None


def is_task_object(container: Mapping[str, object]) -> bool:
    kind = container.get("object")
    return isinstance(kind, str) and OBJECT.search(kind) is not None


def to_id(value: object) -> str | None:
    """Return the text of an id; numbers are ids too."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if text and len(text) <= MOST_ID and text.isprintable() and set(text) != {"."} and text != "0" else None


def find_word(containers: list[Mapping[str, object]], home: Mapping[str, object] | None) -> str:
    """Return the state in the object that has the id; else the innermost: around it stands how the request went."""
    if home is not None and (word := own_word(home)):
        return word
    inner = containers[next((place for place, one in enumerate(containers) if one is home), 0) :]
    words = [word for container in inner if container is not home and (word := own_word(container))]
    return words[-1] if words else ""


def own_word(container: Mapping[str, object]) -> str:
    values = [container.get(name) for name in STATES]
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def to_state(word: str) -> TaskState:
    """Return the state that *word* is for, however it is written: `IN_PROGRESS` or `TASK_STATUS_SUCCEED`."""
    plain = normalize(word)
    return WORDS.get(plain) or WORDS.get(PREFIX.sub("", plain)) or TaskState.UNKNOWN


def normalize(word: str) -> str:
    return re.sub(r"[^a-z]", "", word.lower())


def find_poll_url(containers: list[Mapping[str, object]]) -> str | None:
    for container in containers:
        for name in POLL_URLS:
            if isinstance(url := container.get(name), str) and url.strip():
                return url
        for outer, inner in LINKS:
            links = container.get(outer)
            if isinstance(links, Mapping) and isinstance(url := links.get(inner), str) and url.strip():
                return url
    return None


def find_wait(containers: list[Mapping[str, object]]) -> float | None:
    for container in containers:
        for name, unit in WAITS:
            value = container.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value * unit < float("inf"):
                return value * unit
    return None


# --- failures --------------------------------------------------------------------------------------------------------


def find_failure(containers: list[Mapping[str, object]], word: str) -> Mapping[str, object]:
    """Return why a task failed, as an error document of the API."""
    for container in containers:
        error = container.get("error")
        if isinstance(error, Mapping) and any(isinstance(value, str | int) and value for value in error.values()):
            return {"error": {**({"code": "moderation_blocked"} if normalize(word) in REFUSED else {}), **error}}
    texts = [text for container in containers for text in find_reasons(container)]
    codes = [code for container in containers for name in CODES if (code := to_code(container.get(name)))]
    code = codes[-1] if codes else "moderation_blocked" if normalize(word) in REFUSED else None
    return {"error": {"message": texts[-1] if texts else f"its state is {word}", "code": code}}


def find_reasons(container: Mapping[str, object]) -> Iterator[str]:
    """Yield the reasons in *container*; that of the task, if there are several, is the last."""
    if isinstance(error := container.get("error"), str) and error.strip():
        yield error
    for name in reversed(REASONS):
        if isinstance(reason := container.get(name), str) and reason.strip():
            yield reason


def to_code(value: object) -> str | None:
    """Return a code that says something; `success` and 200 are of the request for the state."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if text and text not in {"0", "200"} and WORDS.get(normalize(text)) is not TaskState.SUCCEEDED else None


def is_refunded(container: Mapping[str, object]) -> bool:
    """Whether it is said that nothing is charged; a refund that is only on its way does not count."""
    if container.get("refunded") is True or container.get("charged") is False or container.get("billed") is False:
        return True
    for name in REFUNDS:
        value = container.get(name)
        if isinstance(value, Mapping):
            value = value.get("status")
        done = REFUND_DONE if name.startswith("refund") else REFUNDED
        if isinstance(value, str) and normalize(value) in done:
            return True
    return False


# --- where to ask ----------------------------------------------------------------------------------------------------


def find_task(
    report: TaskReport | None, status: int, headers: Mapping[str, str], *, request_url: str, idempotency_key: str | None
) -> Task | None:
    """
    Return the task that an answer of success without images is about; None if it is about none.

    Args:
        report: What its document says.
        status: HTTP status.
        headers: With lower-case names.
        request_url: Where the request went; addresses in the answer may be relative to it.
        idempotency_key: Of the request.
    """
    report = report or TaskReport()
    header_id = next((text for name in ID_HEADERS if (text := to_id(headers.get(name)))), None)
    accepted = status == 202
    url = find_task_url(report, headers if accepted or header_id else {}, request_url)
    task_id = report.id if report.is_certain or accepted or header_id else None
    task_id = task_id or header_id or (last_segment(url) if accepted and url else None)
    return Task(id=task_id, url=url, idempotency_key=idempotency_key) if task_id else None


def find_task_url(report: TaskReport, headers: Mapping[str, str], request_url: str) -> str | None:
    """Return the first address of a task, in its document or in *headers*, that may be asked with the key."""
    for said in (report.url, *map(headers.get, URL_HEADERS)):
        if said and (url := own_url(said, request_url)):
            return url
    return None


def last_segment(url: str) -> str | None:
    return to_id(urlsplit(url).path.rstrip("/").rpartition("/")[2])


def own_url(said: str, request_url: str) -> str | None:
    """
    Return *said*, an address in an answer, at the origin of *request_url*; None if it is of another host.

    The key travels with what is asked there, so scheme, host and port are always those of the request: gateways behind
    a proxy write the scheme and port that they know.
    """
    try:
        parts = urlsplit(urljoin(request_url, re.sub(r"[\x00-\x20\x7f\\]", "", said)))
        own = urlsplit(request_url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    same = host == (own.hostname or "").rstrip(".") or (is_loopback(host) and is_loopback(own.hostname or ""))
    if parts.scheme not in {"http", "https"} or not same or parts.path in {"", "/"}:
        return None
    query = f"?{quote(parts.query, safe=QUERY)}" if parts.query else ""
    return f"{own.scheme}://{own.netloc}{quote(parts.path, safe=PATH)}{query}"


PATH = "/%:@!$&'()*+,;=~-._"
QUERY = f"{PATH}?"
PATHS = ("/images/tasks/{id}", "/tasks/{id}", "/images/generations/{id}")
"""Where tasks are asked for below the base URL, if the server does not say; the first mostly."""


def find_poll_urls(task: Task, base_url: str, known: str | None = None) -> tuple[str, ...]:
    """
    Return where *task* can be asked for, the likeliest first.

    Args:
        task: The task; where its server said that it is comes first, if that is the server's own host.
        base_url: As requests use it.
        known: The path that the server is known for, with `{id}`.
    """
    said = own_url(task.url, base_url) if task.url else None
    paths = (known, *PATHS) if known else PATHS
    usual = [base_url + path.format(id=quote(task.id, safe="")) for path in paths]
    return tuple(dict.fromkeys([said, *usual] if said else usual))
