"""What the server does with an idempotency key that it has seen; real gateways are not known to do anything."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from burncloud_images.emulator.answers import Answer, Refusal

Idempotency: TypeAlias = Literal["none", "replay", "reject"]


@attrs.define
class Keys:
    """
    Keys that were seen, with what was asked for and answered.

    Attributes:
        idempotency: `none` forgets them, `replay` answers as before, `reject` refuses.
    """

    idempotency: Idempotency = attrs.field(validator=attrs.validators.in_(("none", "replay", "reject")))
    asked: dict[str, object] = attrs.field(factory=dict)
    answers: dict[str, Answer] = attrs.field(factory=dict)

    def take(self, key: str | None, wanted: object) -> Answer | None:
        """
        Return what was answered to *key*, or note that the work for it begins.

        Args:
            key: As sent.
            wanted: What tells whether it is the same request.

        Raises:
            Refusal: The key belongs to another request, to one that is being worked on, or is used up.
        """
        if key is None or self.idempotency == "none":
            return None
        if key not in self.asked:
            self.asked[key] = wanted
            return None
        if self.asked[key] != wanted:
            raise Refusal("The idempotency key belongs to another request.", code="idempotency_key_reuse", status=422)
        if key not in self.answers:
            message = "A request with this idempotency key is being worked on."
            raise Refusal(message, code="idempotency_key_in_use", status=409)
        if self.idempotency == "reject":
            message = "A request with this idempotency key has already been answered."
            raise Refusal(message, code="idempotency_key_already_used", status=409)
        return self.answers[key]

    def keep(self, key: str | None, answer: Answer) -> None:
        """Keep what is answered to *key*."""
        if key in self.asked:
            self.answers[key] = answer

    def forget(self, key: str | None) -> None:
        """Forget a key whose request was refused."""
        self.asked.pop(key or "", None)
