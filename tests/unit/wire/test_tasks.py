"""What a document says about a task, in all the spellings of servers that make them."""

from __future__ import annotations

import pytest

from burncloud_images.results import Task
from burncloud_images.wire.places import find_items
from burncloud_images.wire.tasks import TaskState, find_poll_urls, find_task, own_url, read_report, to_state

BASE = "https://gateway.example/v1"
ASKED = f"{BASE}/images/generations"

ACCEPTED = [
    {"task_id": "t-1", "status": "queued"},
    {"id": "t-1", "task_id": "t-1", "object": "image.generation.task", "status": "pending"},
    {"id": "t-1", "object": "image.generation.task", "created": 1},
    {"id": "t-1", "status": "IN_PROGRESS", "billing_status": "precharged", "expires_at": 1},
    {"id": "t-1", "request_id": "r-9", "model": "cogview-4", "task_status": "PROCESSING"},
    {"request_id": "r-9", "output": {"task_id": "t-1", "task_status": "PENDING"}},
    {"code": 200, "data": {"task_id": "t-1", "status": "submitted"}},
    {"code": 200, "data": [{"status": "submitted", "task_id": "t-1"}]},
    {"code": "success", "message": "", "data": {"task_id": "t-1"}},
    {"code": 0, "message": "success", "data": {"taskId": "t-1"}},
    {"task": {"id": "t-1", "state": "starting"}},
    {"id": "t-1", "status": "starting", "urls": {"get": f"{BASE}/predictions/t-1"}},
    {"id": "t-1", "status": "queued", "error": None, "data": []},
    {"id": "t-1", "status": "running", "error": {"code": 0, "message": "ok"}},
    {"task_id": "t-1", "task_status": "SUCCEED", "request_id": "r-9"},
    {"jobId": "t-1", "state": "created"},
]


@pytest.mark.parametrize("document", ACCEPTED)
def test_a_task_answer_is_known_by_its_id_and_state(document):
    """Ids and states are found by all their names, at the top and in the objects around the result."""
    task = find_task(read_report(document), 200, {}, request_url=ASKED, idempotency_key="k")

    assert task is not None
    assert ("t-1", "k", False) == (task.id, task.idempotency_key, task.is_ended)


@pytest.mark.parametrize("document", [{"task_id": 815, "status": "queued"}, {"id": 815, "status": "Queued"}])
def test_a_number_can_be_an_id(document):
    """An id may be a number in JSON."""
    assert "815" == find_task(read_report(document), 200, {}, request_url=ASKED, idempotency_key=None).id


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"created": 1, "data": []},
        {"id": "img-1", "created": 1, "data": []},
        {"id": "", "status": "queued"},
        {"task_id": None, "status": "queued"},
        {"task_id": "", "data": None},
        {"task_id": "..", "status": "queued"},
        {"task_id": "a\nb", "status": "queued"},
        {"task_id": ["t-1"], "status": "queued"},
        [],
        None,
        "t-1",
    ],
)
def test_other_answers_are_no_tasks(document):
    """An answer without an id that can be asked for, or with one of something else, names no task."""
    assert find_task(read_report(document), 200, {}, request_url=ASKED, idempotency_key=None) is None


@pytest.mark.parametrize(
    ("document", "headers", "task_id", "url"),
    [
        ({"id": "t-1"}, {}, "t-1", None),
        ({"created": 1}, {"x-task-id": "t-1"}, "t-1", None),
        (None, {"x-task-id": "t-1", "location": "/v1/images/tasks/t-1"}, "t-1", f"{BASE}/images/tasks/t-1"),
        (None, {"location": "/v1/images/tasks/t-1"}, "t-1", f"{BASE}/images/tasks/t-1"),
        (None, {"location": "tasks/t-1?a=b"}, "t-1", f"{BASE}/images/tasks/t-1?a=b"),
        (None, {"operation-location": f"{BASE}/operations/t-1"}, "t-1", f"{BASE}/operations/t-1"),
    ],
)
def test_the_status_202_and_headers_are_enough(document, headers, task_id, url):
    """An answer 202 is a task by any id, or by the address at which it is to be asked for."""
    task = find_task(read_report(document), 202, headers, request_url=ASKED, idempotency_key=None)

    assert (task_id, url) == (task.id, task.url)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        *[(word, TaskState.RUNNING) for word in ("queued", "In-Progress", "in progress", "NOT_START", "IN_QUEUE")],
        *[
            (word, TaskState.RUNNING)
            for word in ("TASK_STATUS_QUEUED", "submitted", "Processing", "running", "waiting")
        ],
        *[(word, TaskState.SUCCEEDED) for word in ("succeeded", "SUCCESS", "SUCCEED", "completed", "TASK_SUCCEEDED")],
        *[(word, TaskState.FAILED) for word in ("failed", "FAILURE", "error", "cancelled", "CANCELED", "expired")],
        *[(word, TaskState.UNKNOWN) for word in ("", "UNKNOWN", "dreaming", "1")],
    ],
)
def test_states_are_known_in_any_spelling(word, state):
    """Case, separators and prefixes do not matter, and a word that is not known is no end."""
    assert state is to_state(word)


@pytest.mark.parametrize(
    ("said", "url"),
    [
        (f"{BASE}/tasks/1", f"{BASE}/tasks/1"),
        ("/v1/tasks/1", f"{BASE}/tasks/1"),
        ("//gateway.example/v1/tasks/1", f"{BASE}/tasks/1"),
        ("http://gateway.example/v1/tasks/1", f"{BASE}/tasks/1"),
        ("http://gateway.example:3000/v1/tasks/1", f"{BASE}/tasks/1"),
        ("https://GATEWAY.example./v1/tasks/1", f"{BASE}/tasks/1"),
        ("https://user:pass@gateway.example/v1/tasks/1#x", f"{BASE}/tasks/1"),
        (" /v1/tasks/a b\n", f"{BASE}/tasks/ab"),
        ("/v1/tasks/ä", f"{BASE}/tasks/%C3%A4"),
        ("https://evil.example/v1/tasks/1", None),
        ("//evil.example/v1/tasks/1", None),
        ("https://gateway.example.evil.example/tasks/1", None),
        ("https://gateway.example@evil.example/tasks/1", None),
        ("\\\\evil.example/tasks/1", f"{BASE}/images/evil.example/tasks/1"),
        ("ftp://gateway.example/tasks/1", None),
        ("file:///etc/passwd", None),
        ("https://[broken/tasks/1", None),
        ("https://gateway.example/", None),
        ("", f"{BASE}/images/generations"),
    ],
)
def test_the_key_goes_to_the_own_origin_only(said, url):
    """An address of the API's own host is asked for at the API's own origin, and one of another host not at all."""
    assert url == own_url(said, ASKED)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "localhost:1"])
def test_this_machine_has_many_names(host):
    """A gateway on this machine may call itself by another of its names."""
    assert "http://127.0.0.1:8000/t/1" == own_url(f"http://{host}/t/1", "http://127.0.0.1:8000/v1/images/generations")


def test_the_usual_places_follow_what_the_server_says():
    """A task is asked for where the server says, then at the usual places; its id stays one part of the path."""
    task = Task(id="../x y", url="/v1/jobs/1")

    assert find_poll_urls(task, BASE) == (
        f"{BASE[:-3]}/v1/jobs/1",
        f"{BASE}/images/tasks/..%2Fx%20y",
        f"{BASE}/tasks/..%2Fx%20y",
        f"{BASE}/images/generations/..%2Fx%20y",
    )
    assert f"{BASE}/images/tasks/1" == find_poll_urls(Task(id="1", url="https://evil.example/1"), BASE)[0]
    assert f"{BASE}/async-result/1" == find_poll_urls(Task(id="1"), BASE, "/async-result/{id}")[0]


FAILURES = [
    ({"status": "failed", "error": {"code": "upstream", "message": "boom"}}, "boom", "upstream"),
    ({"status": "failed", "error": "boom"}, "boom", None),
    ({"code": "success", "message": "ok", "data": {"status": "FAILURE", "fail_reason": "boom"}}, "boom", None),
    ({"output": {"task_status": "FAILED", "code": "InternalError", "message": "boom"}}, "boom", "InternalError"),
    ({"data": {"status": "failed", "error": {"message": "boom", "raw_message": ""}}}, "boom", None),
    ({"status": "error", "error_message": "boom", "error_code": 7}, "boom", "7"),
    ({"status": "moderated"}, "its state is moderated", "moderation_blocked"),
    ({"status": "failed", "error": {}}, "its state is failed", None),
]


@pytest.mark.parametrize(("document", "message", "code"), FAILURES)
def test_the_reason_of_a_failure_is_found(document, message, code):
    """Why a task failed becomes an error in the API's form."""
    report = read_report(document)

    assert TaskState.FAILED is report.state
    assert (message, code) == (report.error["error"]["message"], report.error["error"].get("code"))


@pytest.mark.parametrize(
    ("said", "refunded"),
    [
        ({"refund_status": "refunded"}, True),
        ({"refund_status": "succeeded"}, True),
        ({"refund": {"status": "completed", "amount": 4}}, True),
        ({"billing_status": "refunded"}, True),
        ({"billing_status": "not_charged"}, True),
        ({"refunded": True}, True),
        ({"data": {"billing_status": "released"}}, True),
        ({"refund_status": "pending"}, False),
        ({"refund_status": "none"}, False),
        ({"refund_status": "failed"}, False),
        ({"refund_status": "partially_refunded"}, False),
        ({"billing_status": "precharged"}, False),
        ({"billing_status": "completed"}, False),
        ({"refunded": False}, False),
        ({"refunded": "false"}, False),
        ({}, False),
    ],
)
def test_a_refund_counts_once_it_is_said_to_be_done(said, refunded):
    """Only the server's own word that nothing is charged makes a failed task free."""
    assert refunded is read_report({"status": "failed", **said}).refunded


URL = "https://images.example/1.png"


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"url": URL}]},
        {"result": {"data": [{"url": URL}]}},
        {"result": {"images": [{"url": URL, "seed": 7}]}},
        {"result": [{"url": URL}]},
        {"result": URL},
        {"result": {"url": URL}},
        {"image_url": URL},
        {"result_url": URL},
        {"output": [URL]},
        {"output": URL},
        {"output": {"results": [{"url": URL}]}},
        {"output": {"image_url": URL}},
        {"output_images": [URL]},
        {"image_result": [{"url": URL}]},
        {"images": [{"image_url": {"url": URL}}]},
        {"data": {"image_urls": [URL]}},
        {"data": {"status": "SUCCESS", "data": {"data": [{"url": URL}]}}},
        {"data": [{"status": "completed", "result": {"images": [{"url": [URL]}]}}]},
        {"task": {"status": "succeeded", "output": {"image_url": URL}}},
        {"image": "https://images.example/input.png", "result": {"images": [URL]}},
    ],
)
def test_images_are_found_in_every_place(document):
    """An image's address is found by its place in the result, and what was sent along as an input is not one."""
    assert [URL] == [item["url"] for item in find_items(document)]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None},
        {"image": URL},
        {"url": URL},
        {"input": {"images": [URL]}},
        {"result": "done"},
        {"data": {"prompt": "https://not.an/image"}},
    ],
)
def test_other_places_hold_no_images(document):
    """An address at another place may be anything."""
    assert not find_items(document)
