"""What images cost: at most before they are sent, and in fact afterwards; and what a price file may not say."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.errors import ConfigurationError
from burncloud_images.model.rules import KNOWN
from burncloud_images.prices.table import PriceTable

DOLLAR = 10**9
CENT = 10**7

BY_IMAGE = {
    "date": "2026-11-23",
    "models": {
        "dall-e-3": {
            "images": {
                "standard": {"1024x1024": "0.04", "*": "0.08"},
                "hd": {"1024x1024": 0.08, "*": "0.12"},
            }
        },
        "flat": {"images": {"*": {"*": "0.03"}}},
        "listed": {"images": {"low": {"1024x1024": "0.01"}, "high": {"1024x1024": "0.20"}}},
        "patched": {
            "images": {"low": {"*": "0.02"}, "*": {"512x512": "0.01", "*": "0.05"}},
        },
    },
}
BY_TOKEN = {
    "date": "2026-11-23",
    "models": {
        "gpt": {
            "text_input": 5,
            "cached_text_input": 1,
            "image_input": 8,
            "cached_image_input": 2,
            "image_output": 30,
            "text_output": 10,
            "input_image_tokens": 1000,
            "output_tokens": {"low": {"*": 200}, "high": {"1024x1024": 4000, "*": 6000}},
        },
        "untold": {"text_input": 5, "image_output": 30},
        "both": {
            "text_input": 5,
            "image_output": 30,
            "output_tokens": {"*": {"*": 1000}},
            "images": {"*": {"*": "0.5"}},
        },
    },
}
TABLE = PriceTable.read(BY_IMAGE)
TOKENS = PriceTable.read(BY_TOKEN)


class TestPerImage:
    """Models that are paid by the image."""

    @pytest.mark.parametrize(
        ("fields", "cents"),
        [
            ({"model": "dall-e-3", "quality": "standard", "size": "1024x1024"}, 4),
            ({"model": "dall-e-3", "quality": "standard", "size": "1792x1024"}, 8),
            ({"model": "dall-e-3", "quality": "hd", "size": "1024x1024"}, 8),
            ({"model": "dall-e-3", "quality": "hd"}, 12),
            ({"model": "dall-e-3", "quality": "standard", "size": "auto"}, 8),
            ({"model": "dall-e-3", "size": "1024x1024"}, 8),
            ({"model": "dall-e-3", "quality": "auto", "size": None}, 12),
            ({"model": "dall-e-3"}, 12),
            ({"model": "dall-e-3-2024-05-01"}, 12),
            ({"model": "dall-e-3", "quality": "hd", "n": 4}, 48),
            ({"model": "flat", "quality": "whatever", "size": "99x99", "n": 10}, 30),
            ({"model": "flat"}, 3),
            ({"model": "listed"}, 20),
            ({"model": "patched", "quality": "low", "size": "512x512"}, 2),
            ({"model": "patched", "quality": "high", "size": "512x512"}, 1),
            ({"model": "patched", "quality": "high", "size": "1024x1024"}, 5),
            ({"model": "patched", "size": "512x512"}, 2),
            ({"model": "patched"}, 5),
        ],
    )
    def test_the_dearest_that_fits_is_the_worst_case(self, fields, cents):
        """What is named most closely counts; what the server decides may be anything."""
        assert cents * CENT == TABLE.worst_case(fields)
        assert cents * CENT == TABLE.cost(fields, None, fields.get("n", 1))

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({}, "the server's own model"),
            ({"model": None}, "the server's own model"),
            ({"model": "gpt-image-9"}, "gpt-image-9"),
            ({"model": "dall-e-3", "quality": "low"}, "dall-e-3 with quality low, size auto"),
            ({"model": "listed", "size": "2048x2048"}, "listed with quality auto, size 2048x2048"),
            ({"model": "listed", "quality": "max", "size": "1024x1024"}, "listed with quality max, size 1024x1024"),
        ],
    )
    def test_what_is_not_in_the_table_has_no_price(self, fields, name):
        """A picture that is larger than those listed may cost more than they do."""
        assert None is TABLE.worst_case(fields)
        assert None is TABLE.cost(fields, {"total_tokens": 100}, 1)
        assert name == TABLE.name_unpriced(fields)

    def test_what_has_a_price_is_not_named(self):
        """There is nothing to say about it."""
        assert None is TABLE.name_unpriced({"model": "flat"})

    def test_as_many_images_are_paid_as_came(self):
        """Not as were asked for; tokens of a model that is paid by the image do not count."""
        assert 6 * CENT == TABLE.cost({"model": "flat", "n": 4}, {"total_tokens": 10**9}, 2)


class TestPerToken:
    """Models that are paid by the token."""

    def test_the_worst_case_is_all_that_may_be_counted(self):
        """Each byte of the prompt a token, and all of it for each image."""
        fields = {"model": "gpt", "quality": "low", "prompt": "ä" * 10, "n": 3}

        assert 3 * ((20 + 64) * 5_000 + 200 * 30_000) == TOKENS.worst_case(fields)

    @pytest.mark.parametrize(
        ("fields", "tokens"),
        [
            ({"quality": "high", "size": "1024x1024"}, 4000),
            ({"quality": "high", "size": "1024x1536"}, 6000),
            ({"quality": "high"}, 6000),
            ({}, 6000),
            ({"quality": "low", "output_format": "gif", "frame_count": 3}, 600),
            ({"quality": "low", "output_format": "gif"}, 3200),
            ({"quality": "low", "output_format": "png", "frame_count": 3}, 200),
            ({"quality": "low", "partial_images": 2}, 400),
        ],
    )
    def test_what_is_made_depends_on_quality_and_size(self, fields, tokens):
        """Frames and previews are made as well."""
        assert 64 * 5_000 + tokens * 30_000 == TOKENS.worst_case({"model": "gpt", **fields})

    @pytest.mark.parametrize(
        ("images", "number"),
        [
            ({"image": {"path": "/a.png"}}, 1),
            ({"image": [{"path": "/a.png"}, {"url": "https://b"}], "mask": {"path": "/m.png"}}, 3),
            ({"image": [{"path": "/a.png"}], "markup": {"path": "/m.png"}, "mask": None}, 2),
        ],
    )
    def test_images_to_edit_are_counted(self, images, number):
        """The images to edit are counted, and so are masks."""
        fields = {"model": "gpt", "quality": "low", **images}

        assert 64 * 5_000 + number * 1000 * 8_000 + 200 * 30_000 == TOKENS.worst_case(fields)

    def test_all_tokens_are_counted_for_each_image(self):
        """What is read and what is made; a limit of tokens a minute is kept by it."""
        fields = {"model": "gpt", "quality": "low", "prompt": "fox", "image": [{"url": "https://a"}], "n": 3}

        assert 3 * (3 + 64 + 1000 + 200) == TOKENS.count_tokens(fields)
        assert None is TOKENS.count_tokens({"model": "untold"})
        assert None is TOKENS.count_tokens({"model": "unknown"})

    def test_where_a_table_does_not_say_an_image_to_edit_takes_many(self):
        """More than any model is known to count."""
        fields = {"model": "both", "image": {"url": "https://a"}}

        assert 64 + 10_000 + 1000 == TOKENS.count_tokens(fields)

    def test_without_the_tokens_of_an_image_the_worst_case_is_not_known(self):
        """What it cost is, afterwards."""
        fields = {"model": "untold", "prompt": "a fox"}

        assert None is TOKENS.worst_case(fields)
        assert "untold with quality auto, size auto" == TOKENS.name_unpriced(fields)
        assert 30_000 * 100 + 5_000 * 10 == TOKENS.cost(fields, {"input_tokens": 10, "output_tokens": 100}, 1)

    def test_a_drawing_is_made_by_another_model(self):
        """At a price of its own, which the table does not know."""
        fields = {"model": "gpt", "quality": "low", "output_format": "svg"}

        assert None is TOKENS.worst_case(fields)
        assert None is TOKENS.cost(fields, {"input_tokens": 10, "output_tokens": 100}, 1)
        assert "gpt with quality low, size auto, output_format svg" == TOKENS.name_unpriced(fields)

    def test_of_two_prices_the_higher_is_the_worst_case(self):
        """Afterwards the tokens count, where they are told."""
        fields = {"model": "both"}

        assert DOLLAR // 2 == TOKENS.worst_case(fields)
        assert 30_000 * 7 == TOKENS.cost(fields, {"output_tokens": 7}, 1)
        assert DOLLAR == TOKENS.cost(fields, None, 2)
        assert DOLLAR == TOKENS.cost(fields, {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}, 2)

    @pytest.mark.parametrize(
        ("usage", "micros"),
        [
            (
                {
                    "total_tokens": 1150,
                    "input_tokens": 150,
                    "output_tokens": 1000,
                    "input_tokens_details": {"text_tokens": 50, "image_tokens": 100},
                },
                50 * 5 + 100 * 8 + 1000 * 30,
            ),
            ({"input_tokens": 150, "output_tokens": 1000}, 150 * 8 + 1000 * 30),
            ({"input_tokens": 150, "input_tokens_details": {"text_tokens": 50}}, 50 * 5 + 100 * 8),
            ({"input_tokens": None, "input_tokens_details": {"text_tokens": 50, "image_tokens": None}}, 50 * 5),
            (
                {"output_tokens": 50, "output_tokens_details": {"text_tokens": 20, "image_tokens": 20}},
                20 * 10 + 30 * 30,
            ),
            ({"total_tokens": 100}, 100 * 30),
            ({"total_tokens": 100, "output_tokens": 60}, 100 * 30),
            ({"total_tokens": 100, "input_tokens": 40, "output_tokens": 60}, 40 * 8 + 60 * 30),
            ({"total_tokens": 10, "input_tokens": 40, "output_tokens": 60}, 40 * 8 + 60 * 30),
            (
                {
                    "input_tokens": 150,
                    "input_tokens_details": {
                        "text_tokens": 50,
                        "image_tokens": 100,
                        "cached_tokens_details": {"text_tokens": 40, "image_tokens": 500},
                    },
                },
                40 * 1 + 10 * 5 + 100 * 2,
            ),
            (
                {"input_tokens": 10, "input_tokens_details": {"text_tokens": 10, "cached_tokens": 10}},
                10 * 5,
            ),
        ],
    )
    def test_what_was_used_is_paid(self, usage, micros):
        """Kind by kind; what is not told apart at the higher price."""
        assert micros * 1000 == TOKENS.cost({"model": "gpt"}, usage, 1)

    @pytest.mark.parametrize(
        "usage",
        [
            None,
            {},
            {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0},
            {"total_tokens": None, "input_tokens": "12", "output_tokens": -5},
            {"output_tokens": True, "input_tokens_details": [1], "output_tokens_details": "x"},
            {"output_tokens": 3.5},
        ],
    )
    def test_without_a_count_the_cost_is_not_known(self, usage):
        """The worst case stays reserved then."""
        assert None is TOKENS.cost({"model": "gpt"}, usage, 1)

    def test_parts_of_a_nano_dollar_are_rounded_up(self):
        """One token at a dollar for a million of them is a thousand; at a millionth, still one."""
        table = PriceTable.read(
            {"date": "2026-11-23", "models": {"cheap": {"text_input": "0.000001", "image_output": "0.000000001"}}}
        )

        assert 1 == table.cost({"model": "cheap"}, {"output_tokens": 1}, 1)
        assert 1 == table.cost({"model": "cheap"}, {"input_tokens": 1}, 1)
        assert 2 == table.cost({"model": "cheap"}, {"input_tokens": 1001}, 1)

    counts = st.none() | st.integers(0, 10**9)

    @given(
        counts,
        counts,
        st.none() | st.fixed_dictionaries({"text_tokens": counts, "image_tokens": counts}),
        st.none() | st.fixed_dictionaries({"text_tokens": counts, "image_tokens": counts}),
    )
    def test_the_sum_is_never_smaller_than_the_bill(self, incoming, outgoing, read, made):
        """However little of it an answer tells."""
        usage = {
            "input_tokens": incoming,
            "output_tokens": outgoing,
            "input_tokens_details": read,
            "output_tokens_details": made,
        }
        read, made = read or {}, made or {}
        told_in = (read.get("text_tokens") or 0) * 5 + (read.get("image_tokens") or 0) * 8
        told_out = (made.get("text_tokens") or 0) * 10 + (made.get("image_tokens") or 0) * 30
        bill = max(told_in, (incoming or 0) * 5) + max(told_out, (outgoing or 0) * 10)

        cost = TOKENS.cost({"model": "gpt"}, usage, 1)
        assert (cost or 0) >= Fraction(bill * 1000)


class TestListPrices:
    """What comes with this version."""

    def test_they_say_when_and_whose_they_are(self):
        """A gateway may charge otherwise."""
        table = PriceTable.listed()

        assert date(2026, 11, 23) == table.date
        assert "the gateway's own may differ" in table.source

    @pytest.mark.parametrize(
        ("fields", "low", "high"),
        [
            ({"model": "gpt-image-2", "quality": "high", "size": "1024x1024"}, 0.2107, 0.2115),
            ({"model": "gpt-image-2-2026-04-21", "quality": "low", "size": "1536x1024"}, 0.0047, 0.0055),
            ({"model": "gpt-image-2"}, 0.71, 0.72),
            ({"model": "gpt-image-1", "quality": "medium", "size": "1024x1024"}, 0.042, 0.043),
            ({"model": "gpt-image-1"}, 0.249, 0.251),
            ({"model": "dall-e-3", "quality": "hd", "size": "1792x1024", "n": 2}, 0.24, 0.24),
        ],
    )
    def test_they_are_near_to_what_is_published_per_image(self, fields, low, high):
        """With a prompt of some words beside."""
        assert low * DOLLAR <= PriceTable.listed().worst_case({"prompt": "a red fox", **fields}) <= high * DOLLAR

    @pytest.mark.parametrize("model", ["gpt-image-2.5-sunburst", "gpt-image-2.6-flare"])
    def test_models_whose_tokens_nobody_documents_have_no_worst_case(self, model):
        """What they cost is known afterwards."""
        table = PriceTable.listed()

        assert None is table.worst_case({"model": model, "quality": "low", "size": "1024x1024"})
        assert 30_000 * 500 == table.cost({"model": model}, {"output_tokens": 500}, 1)


class TestFiles:
    """Where prices are read from."""

    TOML = """
        date = 2026-11-23
        source = "our contract"
        [models."dall-e-3".images]
        standard."1024x1024" = 0.04
        [models."gpt-image-2"]
        text_input = 5.00
        image_output = 30.1
        [models."gpt-image-2".output_tokens]
        "*"."*" = 7024
    """

    def test_toml_and_json_say_the_same(self, tmp_path):
        """JSON is told by its name; a byte-order mark is no matter."""
        (tmp_path / "prices.toml").write_text(self.TOML, encoding="utf-8-sig")
        models = {
            "dall-e-3": {"images": {"standard": {"1024x1024": 0.04}}},
            "gpt-image-2": {"text_input": 5, "image_output": 30.1, "output_tokens": {"*": {"*": 7024}}},
        }
        document = {"date": "2026-11-23", "source": "our contract", "models": models}
        (tmp_path / "prices.JSON").write_text(json.dumps(document), encoding="utf-8")

        table = PriceTable.load(tmp_path / "prices.toml")
        assert table == PriceTable.load(str(tmp_path / "prices.JSON")) == PriceTable.read(document)
        assert (date(2026, 11, 23), "our contract") == (table.date, table.source)
        assert 40_000_000 == table.worst_case({"model": "dall-e-3"})
        assert 64 * 5_000 + 7024 * 30_100 == table.worst_case({"model": "gpt-image-2"})

    def test_numbers_are_taken_as_they_are_written(self, tmp_path):
        """Not as the nearest float, of which 0.1 and 0.2 are more than 0.3."""
        for name, text in {
            "prices.toml": 'date = 2026-11-23\nmodels.a.images."*"."*" = 0.1000000001',
            "prices.json": '{"date": "2026-11-23", "models": {"a": {"images": {"*": {"*": 0.1000000001}}}}}',
        }.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
            assert 100_000_001 == PriceTable.load(tmp_path / name).worst_case({"model": "a"})

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("missing.toml", None, "missing.toml cannot be read: No such file or directory."),
            ("bad.toml", b"date = \n", "bad.toml cannot be read: Invalid value (at line 1, column 8)."),
            ("bad.json", b'{"date": }', "bad.json cannot be read: Expecting value: line 1 column 10 (char 9)."),
            ("bytes.toml", b"date = '\xff'", "bytes.toml is not UTF-8 text: byte 9 is wrong."),
            ("list.json", b"[]", "list.json does not contain a JSON object of prices."),
            (
                "twice.json",
                b'{"source": 0, "date": 1, "date": 2}',
                "twice.json cannot be read: 'date' stands twice in one object.",
            ),
            ("deep.json", b"[" * 200_000, "deep.json is nested too deeply to hold prices."),
            ("big.toml", b"#" * (4 * 1024 * 1024 + 1), "big.toml is larger than 4 MiB, so it holds no prices."),
            ("empty.toml", b"", "empty.toml: models: it has to be a table, not None."),
        ],
    )
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path, name, content, message):
        """With the place, where the parser tells it."""
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)

        with pytest.raises(ConfigurationError) as caught:
            PriceTable.load(path)
        assert f"{tmp_path}/{message}" == caught.value.message

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"date": None}, "prices: date: when the prices were so has to be said, as a date such as 2026-11-23."),
            ({"date": "yesterday"}, "prices: date: when the prices were so has to be said"),
            ({"source": 5}, "prices: source: it has to be text, not 5."),
            ({"model": {}}, "prices: model: there is no such key; models is close."),
            ({"currency": "EUR"}, "prices: currency: there is no such key; it can be one of date, models, source."),
            ({"models": []}, "prices: models: it has to be a table, not []."),
            ({"models": {"a": 0.04}}, "prices: models.a: it has to be a table, not 0.04."),
            ({"models": {"a": {}}}, "prices: models.a: it has neither prices per image nor prices per token."),
            (
                {"models": {"a": {"output_tokens": {"*": {"*": 5}}}}},
                "prices: models.a: it has neither prices per image nor prices per token.",
            ),
            ({"models": {"a": {"images": 0.04}}}, "prices: models.a.images: it has to be a table, not 0.04."),
            (
                {"models": {"a": {"images": {"hd": 0.04}}}},
                "prices: models.a.images.hd: it has to be a table, not 0.04.",
            ),
            (
                {"models": {"gpt-image-2.5": {"images": {"*": {"*": -1}}}}},
                'prices: models."gpt-image-2.5".images."*"."*": it has to be an amount of dollars from 0 to 1,000,000',
            ),
            (
                {"models": {"a": {"text_imput": 5}}},
                "prices: models.a.text_imput: there is no such key; text_input is close.",
            ),
            (
                {"models": {"a": {"text_input": 5}}},
                "prices: models.a: image_output is missing; prices per token need text_input and image_output.",
            ),
            (
                {"models": {"a": {"text_input": 5, "image_output": 5, "input_image_tokens": -1}}},
                "prices: models.a.input_image_tokens: it has to be a whole number from 0 to 1,000,000,000, not -1.",
            ),
            (
                {"models": {"a": {"text_input": 5, "image_output": 5, "output_tokens": {"*": {"*": 1.5}}}}},
                'prices: models.a.output_tokens."*"."*": it has to be a whole number from 0 to 1,000,000,000, not 1.5.',
            ),
        ],
    )
    def test_what_is_wrong_is_told_with_its_place(self, change, message):
        """No price is guessed."""
        with pytest.raises(ConfigurationError) as caught:
            PriceTable.read({**BY_IMAGE, **change})
        assert caught.value.message.startswith(message)

    @pytest.mark.parametrize(
        "price", [-0.01, "NaN", "Infinity", float("nan"), float("inf"), True, None, "free", "", [], "1e99", "9" * 5000]
    )
    def test_what_is_no_price_is_refused(self, price):
        """However it is written, and without repeating all of it."""
        with pytest.raises(ConfigurationError, match="it has to be an amount of dollars") as caught:
            PriceTable.read({"date": "2026-11-23", "models": {"a": {"images": {"*": {"*": price}}}}})
        assert len(caught.value.message) < 200

    def test_the_ends_of_what_is_allowed_are_allowed(self):
        """A model may cost nothing, or a great deal."""
        model = {
            "text_input": 0,
            "image_output": 1_000_000,
            "input_image_tokens": 0,
            "output_tokens": {"low": {"*": 0}, "high": {"*": 1_000_000_000}},
        }
        table = PriceTable.read({"date": "2026-11-23", "models": {"a": model}})

        image = {"model": "a", "image": {"url": "https://a"}}
        assert 0 == table.worst_case({**image, "quality": "low"})
        assert 10**9 * DOLLAR == table.worst_case({**image, "quality": "high"})

    def test_a_date_with_a_time_is_a_date(self, tmp_path):
        """As TOML writes it."""
        path = tmp_path / "prices.toml"
        path.write_text('date = 2026-11-23T10:00:00Z\nmodels.a.images."*"."*" = 0', encoding="utf-8")

        assert date(2026, 11, 23) == PriceTable.load(path).date
        assert 0 == PriceTable.load(path).worst_case({"model": "a"})


class TestNamedPrices:
    """Prices of an image that the user names."""

    @pytest.mark.parametrize("model", [*KNOWN, "gpt-image-2.6-flare-2026-09-08", "their-own-model"])
    def test_make_a_worst_case_for_every_model(self, model):
        """A budget can limit any model then."""
        fields = {"model": model, "prompt": "x", "n": 3}
        assert 120_000_000 == PriceTable.listed().with_price(40_000_000, model).worst_case(fields)
        assert 120_000_000 == PriceTable.listed().with_price(40_000_000).worst_case(fields)

    def test_of_one_model_leave_the_others(self):
        """Each model can have its own price."""
        table = PriceTable.listed().with_price(1, "gpt-image-2")
        assert 1 == table.worst_case({"model": "gpt-image-2"})
        assert table.worst_case({"model": "dall-e-3"}) == PriceTable.listed().worst_case({"model": "dall-e-3"})
        assert table.worst_case({"model": "gpt-image-2.6-flare"}) is None

    def test_count_for_a_request_without_a_model(self):
        """The server has a model of its own."""
        assert 5 == PriceTable.listed().with_price(5).worst_case({"prompt": "x"})
        assert PriceTable.listed().worst_case({"prompt": "x"}) is None

    def test_say_what_they_are(self):
        """A plan names what the worst case is counted by."""
        assert "your price" == PriceTable.listed().with_price(5).name_basis({"model": "x"})
        assert "token ceiling" == PriceTable.listed().name_basis({"model": "gpt-image-2"})
        assert "price per image" == PriceTable.listed().name_basis({"model": "dall-e-3"})
        assert "" == PriceTable.listed().name_basis({"model": "gpt-image-2.6-flare"})


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "gpt-image-2", "prompt": "x"},
        {"model": "gpt-image-2", "prompt": "x" * 900, "n": 4, "quality": "high"},
        {"model": "gpt-image-2", "prompt": "x", "size": "3840x2160", "quality": "auto"},
        {"model": "gpt-image-2", "prompt": "x", "image": ["a", "b"], "quality": "low", "size": "1024x1024"},
        {"model": "dall-e-3", "prompt": "x"},
        {"model": "dall-e-3", "prompt": "x", "quality": "hd", "size": "1024x1024"},
    ],
)
def test_a_typical_cost_is_at_most_the_worst_case(fields):
    """It is what a plan shows beside it."""
    table = PriceTable.listed()
    assert 0 < table.typical(fields) <= table.worst_case(fields)


def test_a_typical_cost_is_unknown_without_a_price():
    """A model without a price has no typical cost either."""
    assert PriceTable.listed().typical({"model": "x"}) is None
