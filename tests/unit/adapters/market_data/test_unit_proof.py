"""amount / volume must be a price of the day; what is not is named with its factor."""

import polars as pl
import pytest

from caopan.adapters.market_data.frame import validate
from caopan.adapters.market_data.mapping import ColumnMapping, find_layout
from caopan.adapters.market_data.normalise import normalise
from caopan.kernel.errors import ConfigInvalid


def load(raw, calendar, **units):
    mapping = ColumnMapping(units=units)
    layout = find_layout(raw.columns, mapping, "batch")
    return validate(normalise(raw, layout, "batch"), calendar, label="batch")


def scaled(bars, volume=1.0, amount=1.0, symbol=None):
    hit = pl.lit(value=True) if symbol is None else pl.col("symbol") == symbol
    return bars.with_columns(
        pl.when(hit).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name, factor in (("volume", volume), ("amount", amount))
    )


@pytest.mark.parametrize(
    ("volume", "amount", "factor"),
    [
        (0.01, 1.0, "100"),
        (0.001, 1.0, "1000"),
        (0.0001, 1.0, "10000"),
        (1.0, 0.001, "0.001"),
        (1.0, 0.0001, "0.0001"),
        (0.01, 0.001, "0.1"),
        (100.0, 1.0, "0.01"),
    ],
)
def test_a_wrong_unit_is_refused_with_its_factor(bars, calendar, volume, amount, factor):
    with pytest.raises(ConfigInvalid, match=f"factor {factor}:") as caught:
        load(scaled(bars, volume, amount), calendar)
    assert caught.value.code == "DATA_UNIT"
    assert "600519.SH on 4 of 4 rows" in caught.value.message


def test_units_that_differ_by_symbol_are_named_by_symbol(bars, calendar):
    with pytest.raises(ConfigInvalid, match="DATA_UNIT") as caught:
        load(scaled(bars, volume=0.01, symbol="300750.SZ"), calendar)
    assert "300750.SZ" in caught.value.message
    assert "600519.SH" not in caught.value.message


def test_one_row_in_another_unit_refuses_the_batch(bars, spoil, calendar):
    with pytest.raises(ConfigInvalid, match=r"DATA_UNIT.*600519.SH on 1 of 4 rows"):
        load(spoil("volume", 100), calendar)


@pytest.mark.parametrize(
    ("volume", "amount", "units"),
    [
        (0.01, 1.0, {"volume": "lot"}),
        (0.01, 0.001, {"volume": "lot", "amount": "thousand_yuan"}),
        (0.0001, 0.0001, {"volume": "ten_thousand_shares", "amount": "ten_thousand_yuan"}),
    ],
)
def test_declared_units_are_converted_and_then_proved(bars, calendar, volume, amount, units):
    assert load(scaled(bars, volume, amount), calendar, **units).equals(load(bars, calendar))


def test_a_declaration_that_is_wrong_is_refused(bars, calendar):
    with pytest.raises(ConfigInvalid, match="DATA_UNIT"):
        load(bars, calendar, volume="lot")


def test_prices_that_no_unit_explains_are_refused(bars, calendar):
    adjusted = bars.with_columns(
        (pl.col(name) * 0.8).round(2) for name in ("open", "high", "low", "close", "pre_close")
    )
    with pytest.raises(ConfigInvalid, match="fits no unit") as caught:
        load(adjusted, calendar)
    assert caught.value.code == "DATA_UNIT"


def test_a_stray_figure_of_a_vendor_does_not_refuse_years_of_bars(calendar, bars):
    day = pl.Series("date", [str(day) for day in calendar.sessions])
    share = bars.head(1)
    many = pl.concat(
        share.with_columns(pl.lit(f"6000{n:02d}.SH").alias("symbol"), pl.lit(d).alias("date"))
        for n in range(2)
        for d in day
    ).with_columns(pl.lit(1700.0).alias("pre_close"))
    # 1 of 16 rows of one symbol is more than a stray; 2 symbols x 16 rows, spread thin, is not.
    stray = many.with_columns(
        pl.when(pl.int_range(pl.len()) == 3)
        .then(pl.col("amount") * 0.87)
        .otherwise("amount")
        .alias("amount")
    )
    with pytest.raises(ConfigInvalid, match=r"600000\.SH on 1 of 16 rows"):
        load(stray, calendar)


def test_without_amounts_the_unit_of_volume_must_be_declared(bars, calendar):
    bare = bars.drop("amount")
    with pytest.raises(ConfigInvalid, match="DATA_UNIT") as caught:
        load(bare, calendar)
    assert "mapping.toml" in caught.value.remedy
    frame = load(bare, calendar, volume="share")
    assert frame["amount"].null_count() == frame.height
