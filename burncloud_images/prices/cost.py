"""
The cost of a request: the worst case before it is sent, the actual cost afterwards, and amounts as text.

Sums are exact: prices are whole nano-dollars, and divisions are rounded up. What an answer leaves open is counted at
the higher price, so a sum is never below the bill.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeAlias

import attrs

from burncloud_images.errors import ConfigurationError

ANY = "*"
MILLION = 1_000_000

INPUT_IMAGE_TOKENS = 10_000
"""
What an image to edit takes at the very most, where a price table does not say: gpt-image-1 counts up to 6,240 tokens
for one that is to be kept closely and some hundreds for its tiles; gpt-image-2 fewer than 1,600.
"""
PROMPT_TOKENS_BESIDE = 64
"""Text tokens that a server may count in addition to the prompt, whose tokens have at least a byte each."""
PARTIAL_IMAGE_TOKENS = 100
"""What each preview of a stream adds, as OpenAI documents it."""
MAX_FRAMES = 16
TYPICAL_QUALITY, TYPICAL_SIZE = "medium", "1024x1024"
BYTES_PER_TOKEN = 4
"""Of English text, on average."""

Fields: TypeAlias = Mapping[str, object]


@attrs.frozen
class ImageRates:
    """
    Amounts per image, by quality and size.

    Attributes:
        amounts: By `(quality, size)`; `*` stands for all that are not named.
    """

    amounts: Mapping[tuple[str, str], int] = attrs.field(factory=dict)

    def most(self, quality: object, size: object) -> int | None:
        """
        Return the greatest amount that fits.

        Args:
            quality: As asked for; where the server decides, None or `auto`, any fits.
            size: As *quality*.

        Returns:
            None if nothing fits: what is asked for is not in the table.
        """
        qualities = self.choices(quality, {quality for quality, _ in self.amounts})
        sizes = self.choices(size, {size for _, size in self.amounts})
        found = [self.find(one, other) for one in qualities for other in sizes]
        return max((amount for amount in found if amount is not None), default=None)

    def choices(self, value: object, named: Iterable[str]) -> Iterable[str]:
        return named if value is None or value == "auto" else (str(value),)

    def find(self, quality: str, size: str) -> int | None:
        """Return the amount that is named most closely."""
        places = ((quality, size), (quality, ANY), (ANY, size), (ANY, ANY))
        return next((self.amounts[place] for place in places if place in self.amounts), None)


@attrs.frozen(kw_only=True)
class TokenPrices:
    """
    Nano-dollars per million tokens.

    Attributes:
        text_input: Of prompts.
        image_input: Of images to edit.
        cached_text_input: Of prompts that the server knew already.
        cached_image_input: Of images that the server knew already.
        image_output: Of the images made.
        text_output: Of what a model writes on the way.
    """

    text_input: int
    image_input: int
    cached_text_input: int
    cached_image_input: int
    image_output: int
    text_output: int


@attrs.frozen(kw_only=True)
class ModelPrices:
    """
    The prices of a model.

    Attributes:
        images: Nano-dollars per image.
        tokens: Prices per token, where the model is paid so.
        output_tokens: The maximum number of tokens that one image takes.
        input_image_tokens: The most tokens that one image to edit takes.
        source: Who named the price, if it is not the table's.
    """

    images: ImageRates = attrs.field(factory=ImageRates)
    tokens: TokenPrices | None = None
    output_tokens: ImageRates = attrs.field(factory=ImageRates)
    input_image_tokens: int = INPUT_IMAGE_TOKENS
    source: str = ""

    def basis(self, fields: Fields) -> str:
        """Return what the worst case of a request is counted by."""
        by_token = self.by_expected_tokens(fields, self.tokens) if self.tokens is not None else None
        is_by_token = by_token is not None and by_token > (self.by_image(fields, count(fields)) or 0)
        return self.source or ("token ceiling" if is_by_token else "price per image")

    def typical(self, fields: Fields) -> int | None:
        """
        Return what such a request usually costs, in nano-dollars; None if that cannot be told.

        What the server decides is taken to be medium and square, a token of a prompt to have four bytes, and an image
        to edit to take a sixth of the most.
        """
        quality, size = (
            usual if fields.get(name) in (None, "auto") else str(fields[name])
            for name, usual in (("quality", TYPICAL_QUALITY), ("size", TYPICAL_SIZE))
        )
        named = self.output_tokens.find(quality, size)
        if self.tokens is None or named is None:
            worst = self.worst_case(fields)
            price = self.images.find(quality, size)
            return worst if price is None or self.tokens is not None else price * count(fields)
        text = len(str(fields.get("prompt") or "").encode(errors="replace")) // BYTES_PER_TOKEN
        images = count_inputs(fields) * self.input_image_tokens // 6
        made = named * (frames(fields) if fields.get("frame_count") else 1)
        tokens = self.tokens
        total = text * tokens.text_input + images * tokens.image_input + made * tokens.image_output
        return ceil_million(total * count(fields))

    def worst_case(self, fields: Fields) -> int | None:
        """Return the most that a request can cost, in nano-dollars; None if that cannot be told."""
        if self.tokens is None or fields.get("output_format") == "svg":  # which another model writes, at its own price
            return self.by_image(fields, count(fields))
        by_token = self.by_expected_tokens(fields, self.tokens)
        by_image = self.by_image(fields, count(fields))
        return None if by_token is None else max(by_token, by_image or 0)

    def cost(self, fields: Fields, usage: Fields | None, images: int) -> int | None:
        """Return what a request cost, in nano-dollars; None if that cannot be told."""
        if self.tokens is not None and usage is not None and fields.get("output_format") != "svg":
            total = by_usage(usage, self.tokens)
            if total:
                return ceil_million(total)
        return self.by_image(fields, images)

    def by_image(self, fields: Fields, images: int) -> int | None:
        price = self.images.most(fields.get("quality"), fields.get("size"))
        return None if price is None else price * images

    def by_expected_tokens(self, fields: Fields, prices: TokenPrices) -> int | None:
        """Return the most for a request that is paid by its tokens; each of its images counts its input anew."""
        each = self.expect_output(fields)
        return None if each is None else self.by_output_tokens(fields, prices, each)

    def by_output_tokens(self, fields: Fields, prices: TokenPrices, each: int) -> int:
        """Return the most for a request whose images take *each* tokens at most."""
        text, images = self.expect_input(fields)
        total = text * prices.text_input + images * prices.image_input + each * prices.image_output
        return ceil_million(total * count(fields))

    def count_tokens(self, fields: Fields) -> int | None:
        """Return the most tokens that a request can take; None if that cannot be told."""
        each = self.expect_output(fields)
        return None if each is None else (sum(self.expect_input(fields)) + each) * count(fields)

    def expect_output(self, fields: Fields) -> int | None:
        """Return the most tokens of one image made; None if that is unknown."""
        each = self.output_tokens.most(fields.get("quality"), fields.get("size"))
        if each is None:
            return None
        return each * frames(fields) + PARTIAL_IMAGE_TOKENS * whole(fields.get("partial_images"))

    def expect_input(self, fields: Fields) -> tuple[int, int]:
        """Return the most tokens of the prompt and of the images to edit, for one image made."""
        return (
            len(str(fields.get("prompt") or "").encode(errors="replace")) + PROMPT_TOKENS_BESIDE,
            count_inputs(fields) * self.input_image_tokens,
        )


def by_usage(usage: Fields, prices: TokenPrices) -> int:
    """Return nano-dollars times a million; 0 if *usage* counts nothing."""
    total, incoming, outgoing = (whole(usage.get(f"{name}_tokens")) for name in ("total", "input", "output"))
    read_text, read_image = by_kind(details := usage.get("input_tokens_details"))
    made_text, made_image = by_kind(usage.get("output_tokens_details"))
    read_other, made_other = max(0, incoming - read_text - read_image), max(0, outgoing - made_text - made_image)
    saved_text, saved_image = by_kind(details.get("cached_tokens_details") if isinstance(details, Mapping) else None)
    # What is not told apart counts as the dearer kind; most often all that is made is image.
    sums = (
        read_text * prices.text_input,
        read_image * prices.image_input,
        read_other * max(prices.text_input, prices.image_input),
        made_text * prices.text_output,
        made_image * prices.image_output,
        made_other * max(prices.text_output, prices.image_output),
        max(0, total - read_text - read_image - read_other - made_text - made_image - made_other)
        * max(attrs.astuple(prices)),
        -min(read_text, saved_text) * (prices.text_input - prices.cached_text_input),
        -min(read_image, saved_image) * (prices.image_input - prices.cached_image_input),
    )
    return sum(sums)


def by_kind(details: object) -> tuple[int, int]:
    """Return the tokens of text and of images, as far as they are told apart."""
    named = details if isinstance(details, Mapping) else {}
    return whole(named.get("text_tokens")), whole(named.get("image_tokens"))


def ceil_million(amount: int) -> int:
    return -(-amount // MILLION)


def whole(value: object) -> int:
    """Return *value* if it is a count, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def count(fields: Fields) -> int:
    """Return how many images are asked for."""
    return max(1, whole(fields.get("n")))


def frames(fields: Fields) -> int:
    """Return the maximum number of frames in one image."""
    return (whole(fields.get("frame_count")) or MAX_FRAMES) if fields.get("output_format") == "gif" else 1


def count_inputs(fields: Fields) -> int:
    """Return how many images are sent along."""
    given = [fields[name] for name in ("image", "mask", "markup") if fields.get(name) is not None]
    return sum(len(one) if isinstance(one, list | tuple) else 1 for one in given)


DOLLAR = 1_000_000_000
"""Nano-dollars."""

AMOUNT = re.compile(r"\$?([0-9]{1,9}(?:\.[0-9]{1,9})?)", re.ASCII)
SHOWN_DIGITS = 3


def parse_money(text: str) -> int:
    """
    Return an amount of dollars such as `5`, `5.00` or `$0.042` in nano-dollars, exactly.

    Raises:
        ConfigurationError: It is not an amount.
    """
    match = AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is not an amount of dollars such as 5.00.")
    return int(Decimal(match[1]).scaleb(9))


def show_money(amount: int) -> str:
    """Return nano-dollars as dollars: to the cent from a dollar on, to three digits below it."""
    dollars = Decimal(abs(amount)).scaleb(-9)
    places = max(2, SHOWN_DIGITS - 1 - dollars.adjusted()) if amount else 2
    rounded = dollars.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    whole, _, fraction = f"{rounded:,f}".partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}${whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"
