"""Arrays that are made from buffers are those that Arrow makes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold.fold.arrays import array, repeated, texts

PLAIN: tuple[st.SearchStrategy[Any], ...] = (
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.text(),
    st.binary(),
)


@given(st.sampled_from(PLAIN).flatmap(lambda kind: st.lists(st.one_of(st.none(), kind), max_size=30)))
def test_plain_values_are_held_as_arrow_holds_them(values: list[Any]) -> None:
    made, expected = array(values), pa.array(values)
    made.validate(full=True)
    assert made.type == expected.type
    assert str(made.to_pylist()) == str(expected.to_pylist())  # NaN is not equal to itself
    assert made.null_count == expected.null_count


@pytest.mark.parametrize("values", [[2**63], [1, "a"], ["\ud800"], [object()]])
def test_what_arrow_cannot_hold_is_an_error_of_arrows_own(values: list[Any]) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whichever it is
        pa.array(values)
    with pytest.raises(type(expected.value)):
        array(values)


@pytest.mark.parametrize("text", ["", "é", None])
def test_one_text_is_repeated(text: str | None) -> None:
    assert repeated(text, 3).to_pylist() == texts([text] * 3).to_pylist() == [text] * 3
    assert repeated(text, 0).type == pa.string()
