"""
What images cost: a dated table of prices per model, from a file or a mapping.

A price file is TOML, or JSON of the same form; amounts are US dollars, as numbers or as text. Each model is paid by the
image, by the token, or both; `*` stands for every quality or size that is not named:

    date = 2026-11-23
    source = "our contract"

    [models."dall-e-3".images]
    standard."1024x1024" = 0.04
    standard."*" = 0.08
    hd."*" = 0.12

    [models."gpt-image-2"]
    text_input = 5.00            # for a million tokens
    image_input = 8.00           # like text_input unless it is given
    image_output = 30.00
    input_image_tokens = 2000    # the most that one image to edit takes

    [models."gpt-image-2".output_tokens]
    high."1024x1024" = 7024      # the most that one image made takes
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Literal, NoReturn

import attrs

from burncloud_images.errors import ConfigurationError
from burncloud_images.prices.cost import ANY, INPUT_IMAGE_TOKENS, ImageRates, ModelPrices, TokenPrices, count
from burncloud_images.prices.measured import CostMeasurement, find_measurement

LISTED = Path(__file__).with_name("list_prices.toml")
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DOLLARS = 1_000_000
MAX_TOKENS_PER_IMAGE = 1_000_000_000
SNAPSHOT = re.compile(r"-20\d\d-\d\d-\d\d$")

# Of these the first two have to be given; the others are like what stands beside them.
TOKEN_PRICES = {
    "text_input": None,
    "image_output": None,
    "image_input": "text_input",
    "cached_text_input": "text_input",
    "cached_image_input": "image_input",
    "text_output": "image_output",
}
MODEL_KEYS = frozenset({*TOKEN_PRICES, "images", "output_tokens", "input_image_tokens"})
TABLE_KEYS = frozenset({"date", "source", "models"})
MEASURED = "measured ceiling"
"""What a worst case is counted by that a few bought images told."""


@attrs.frozen(kw_only=True)
class PriceTable:
    """
    What images cost.

    Attributes:
        date: When the prices were so.
        source: Where they are from, in a few words.
        models: By name; a name without its snapshot date stands for its snapshots, too.
        measured: What images were measured to take, for requests of which the prices do not tell the most.
    """

    date: date
    models: Mapping[str, ModelPrices] = attrs.field(repr=False)
    source: str = ""
    measured: tuple[CostMeasurement, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def load(cls, path: str | Path) -> PriceTable:
        """
        Read a price file: JSON if it is called so, TOML else; blocks.

        Raises:
            ConfigurationError: It cannot be read or used, with the place.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from None
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError(
                f"{path} is larger than {MAX_FILE_BYTES / 1024 / 1024:g} MiB, so it holds no prices."
            )
        return cls.read(parse(content, path), str(path))

    @classmethod
    def listed(cls) -> PriceTable:
        """
        Return the prices that come with this version: list prices of the models' provider, as of their date; blocks.

        A gateway may charge otherwise, and prices change: a file of its own prices is better.
        """
        return load_listed()

    @classmethod
    def read(cls, table: Mapping[str, object], name: str = "prices") -> PriceTable:
        """
        Return the table that a mapping of the form of a price file holds.

        Raises:
            ConfigurationError: It cannot be used, with the place.
        """
        return read_table(PricePath(name), table)

    def find(self, model: object) -> ModelPrices | None:
        """Return the prices of a model; None if there are none."""
        if not isinstance(model, str):
            return self.models.get(ANY)
        return self.models.get(model) or self.models.get(SNAPSHOT.sub("", model)) or self.models.get(ANY)

    def with_price(self, amount: int, model: str | None = None) -> PriceTable:
        """
        Return a table in which an image costs a price that the user names, so that a budget can limit any model.

        Args:
            amount: Nano-dollars for each image.
            model: Of which model; without it of every model, and all other prices are left out.
        """
        flat = ModelPrices(images=ImageRates({(ANY, ANY): amount}), source="your price")
        return attrs.evolve(self, models={ANY: flat} if model is None else {**self.models, model: flat})

    def typical(self, fields: Mapping[str, object]) -> int | None:
        """Return what such a request usually costs, in nano-dollars; None if the table does not tell."""
        prices = self.find(fields.get("model"))
        known = None if prices is None else prices.typical(fields)
        return known if known is not None else self.measured_cost(fields, has_margin=False)

    def name_basis(self, fields: Mapping[str, object]) -> str:
        """Return what the worst case of a request is counted by; empty if there is none."""
        prices = self.find(fields.get("model"))
        if prices is not None and prices.worst_case(fields) is not None:
            return prices.basis(fields)
        return MEASURED if self.measured_cost(fields) is not None else ""

    def worst_case(self, fields: Mapping[str, object]) -> int | None:
        """
        Return the most that a request can cost.

        Args:
            fields: Its fields by their API names, the images to edit among them. Where quality or size is for the
                server to decide, the dearest counts.

        Returns:
            Nano-dollars; None if the table does not tell, so that only a number of images can limit what is spent.
        """
        prices = self.find(fields.get("model"))
        known = None if prices is None else prices.worst_case(fields)
        return known if known is not None else self.measured_cost(fields)

    def measured_cost(self, fields: Mapping[str, object], *, has_margin: bool = True) -> int | None:
        """
        Return the measured ceiling for a request, or without its margin what was usual.

        Returns:
            Nano-dollars; None if nothing was measured that holds for it.
        """
        found = find_measurement(self.measured, fields)
        if found is None:
            return None
        if found.cost:
            return (found.with_margin(found.cost) if has_margin else found.usual_cost) * count(fields)
        prices = self.find(fields.get("model"))
        if prices is None or prices.tokens is None or fields.get("output_format") == "svg":
            return None
        each = found.with_margin(found.tokens) if has_margin else found.usual_tokens
        return prices.by_output_tokens(fields, prices.tokens, each)

    def count_tokens(self, fields: Mapping[str, object]) -> int | None:
        """Return the most tokens that a request can take, those of its answer included; None if that cannot be told."""
        prices = self.find(fields.get("model"))
        return None if prices is None else prices.count_tokens(fields)

    def estimate(
        self, fields: Mapping[str, object], usage: Mapping[str, object] | None, images: int
    ) -> tuple[Decimal, Literal["tokens", "list"]] | None:
        """
        Return what a request cost that was served, in dollars, and whether tokens or the price of an image tell it.

        Args:
            fields: Its fields, as `cost` takes them.
            usage: The tokens of the answer, as the API names them.
            images: How many came.

        Returns:
            None if the table does not tell.
        """
        prices = self.find(fields.get("model"))
        amount = prices.cost(fields, usage, images) if prices is not None else None
        if prices is None or amount is None:
            return None
        return Decimal(amount).scaleb(-9), "list" if amount == prices.by_image(fields, images) else "tokens"

    def cost(self, fields: Mapping[str, object], usage: Mapping[str, object] | None, images: int) -> int | None:
        """
        Return what a request cost that was served.

        Args:
            fields: Its fields; with the quality and size of the answer in their place, where it names them.
            usage: The tokens of the answer, as the API names them. Where they are missing or all 0, the price per image
                counts.
            images: How many images came.

        Returns:
            Nano-dollars, never less than the bill by these prices; None if the table does not tell.
        """
        prices = self.find(fields.get("model"))
        return None if prices is None else prices.cost(fields, usage, images)

    def name_unpriced(self, fields: Mapping[str, object]) -> str | None:
        """Return what a request asks for if the table does not tell what that can cost; None if it does."""
        if self.worst_case(fields) is not None:
            return None
        model = fields.get("model") or "the server's own model"
        if self.find(model) is None:
            return str(model)
        named = [f"{name} {fields.get(name) or 'auto'}" for name in ("quality", "size", "output_format")]
        return f"{model} with {', '.join(named if fields.get('output_format') else named[:2])}"


def parse(content: bytes, path: Path) -> Mapping[str, object]:
    try:
        text = content.decode("utf-8-sig")
        if path.suffix.lower() != ".json":
            return tomllib.loads(text, parse_float=Decimal)
        table = json.loads(text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=refuse_twice)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text: byte {error.start + 1} is wrong.") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply to hold prices.") from None
    except ValueError as error:  # of either parser, with line and column
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path} does not contain a JSON object of prices.")
    return table


def refuse_twice(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


@attrs.frozen
class PricePath:
    """
    Where a value stands.

    Attributes:
        name: Of the file or mapping.
        keys: On the way to it.
    """

    name: str
    keys: tuple[str, ...] = ()

    def at(self, *keys: str) -> PricePath:
        """Return a place within this one."""
        return PricePath(self.name, (*self.keys, *keys))

    def refuse(self, problem: str) -> NoReturn:
        """
        Say what is wrong here.

        Raises:
            ConfigurationError: It always does.
        """
        where = ".".join(
            key if re.fullmatch(r"[\w-]+", key) else json.dumps(key, ensure_ascii=False) for key in self.keys
        )
        raise ConfigurationError(f"{self.name}: {where}: {problem}." if where else f"{self.name}: {problem}.")


@cache
def load_listed() -> PriceTable:
    return PriceTable.load(LISTED)


def read_date(place: PricePath, value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        place.refuse("when the prices were so has to be said, as a date such as 2026-11-23")


def read_text(place: PricePath, value: object) -> str:
    if not isinstance(value, str):
        place.refuse(f"it has to be text, not {value!r}")
    return value


def read_mapping(place: PricePath, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        place.refuse(f"it has to be a table, not {value!r}")
    return value


def read_keys(place: PricePath, value: object, known: Collection[str]) -> Mapping[str, object]:
    table = read_mapping(place, value)
    unknown = next((key for key in table if key not in known), None)
    if unknown is not None:
        close = difflib.get_close_matches(unknown, known, 1)
        place.at(unknown).refuse(f"there is no such key; {f'{close[0]} is close' if close else one_of(known)}")
    return table


def read_money(place: PricePath, value: object) -> int:
    """Return dollars as nano-dollars, rounded up."""
    try:
        amount = Decimal("nan") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("nan")
    if not (amount.is_finite() and 0 <= amount <= MAX_DOLLARS):
        place.refuse(f"it has to be an amount of dollars from 0 to {MAX_DOLLARS:,}, not {value!s:.40}")
    return int(amount.scaleb(9).to_integral_value(ROUND_CEILING))


def read_count(place: PricePath, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS_PER_IMAGE:
        place.refuse(f"it has to be a whole number from 0 to {MAX_TOKENS_PER_IMAGE:,}, not {value!s:.40}")
    return value


def one_of(names: Iterable[str]) -> str:
    return f"it can be one of {', '.join(sorted(names))}"


def read_table(place: PricePath, value: object) -> PriceTable:
    table = read_keys(place, value, TABLE_KEYS)
    models = read_mapping(place.at("models"), table.get("models"))
    return PriceTable(
        date=read_date(place.at("date"), table.get("date")),
        source=read_text(place.at("source"), table.get("source", "")),
        models={model: read_model(place.at("models", model), prices) for model, prices in models.items()},
    )


def read_model(place: PricePath, value: object) -> ModelPrices:
    table = read_keys(place, value, MODEL_KEYS)
    tokens = read_tokens(place, table) if not TOKEN_PRICES.keys().isdisjoint(table) else None
    prices = ModelPrices(
        images=read_rates(place.at("images"), table.get("images", {}), read_money),
        tokens=tokens,
        output_tokens=read_rates(place.at("output_tokens"), table.get("output_tokens", {}), read_count),
        input_image_tokens=read_count(
            place.at("input_image_tokens"), table.get("input_image_tokens", INPUT_IMAGE_TOKENS)
        ),
    )
    if tokens is None and not prices.images.amounts:
        place.refuse("it has neither prices per image nor prices per token")
    return prices


def read_tokens(place: PricePath, table: Mapping[str, object]) -> TokenPrices:
    amounts: dict[str, int] = {}
    for name, like in TOKEN_PRICES.items():
        if name in table:
            amounts[name] = read_money(place.at(name), table[name])
        elif like is None:
            place.refuse(f"{name} is missing; prices per token need text_input and image_output")
        else:
            amounts[name] = amounts[like]
    return TokenPrices(**amounts)


def read_rates(place: PricePath, value: object, read: Callable[[PricePath, object], int]) -> ImageRates:
    amounts: dict[tuple[str, str], int] = {}
    for quality, sizes in read_mapping(place, value).items():
        for size, amount in read_mapping(place.at(quality), sizes).items():
            amounts[quality, size] = read(place.at(quality, size), amount)
    return ImageRates(amounts)
