"""
An answer that somebody has saved: as the API sent it, or on a line of what OpenAI's Batch API puts out.

Such a line has the answer in `response.body`, beside the row's `custom_id`; or what went wrong, in `error` or in the
body. Source: OpenAI's Batch guide, "Retrieve the results".
"""

from __future__ import annotations

from collections.abc import Mapping

from burncloud_images.wire.answer import Answer, to_text
from burncloud_images.wire.image_json import AnswerDecoder, Container, locate_in_answer

BATCH = ("response", "body")


class SavedAnswerDecoder(AnswerDecoder):
    """
    Cuts the images out of one saved answer.

    Attributes:
        custom_id: Of its row in a batch; known when the answer is.
    """

    custom_id: str | None = None

    def locate(self) -> int | None:
        """Find the images of an answer, or of one that is wrapped."""
        return locate_in_answer(self.levels[len(BATCH) :] if is_wrapped(self.levels) else self.levels)

    def close(self) -> Answer:
        """Return the rest of the answer, and of none of what is around it."""
        document = self.parse()
        if isinstance(document, Mapping) and "response" in document and "data" not in document:
            self.custom_id = to_text(document.get("custom_id"))
            response = document["response"]
            body = response.get("body") if isinstance(response, Mapping) else None
            document = body if isinstance(body, Mapping) else {"error": document.get("error")}
        return self.to_answer(document)


def is_wrapped(levels: list[Container]) -> bool:
    around = levels[: len(BATCH)]
    return all(level.is_object for level in around) and tuple(level.key for level in around) == BATCH


def is_event_stream(beginning: bytes) -> bool:
    """
    Say whether a body that begins so is a stream of events: lines with a name and a colon, where JSON has a bracket.

    Source: WHATWG HTML §9.2.6.
    """
    return beginning.startswith((b"event", b"data", b"id", b"retry", b":"))
