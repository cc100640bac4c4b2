"""One owner that cannot be counted keeps no other from it."""

from __future__ import annotations

import pytest

import fourfold as ff
from fourfold.errors import ConfigError
from fourfold.sdk import Session


@pytest.mark.parametrize(
    "sql", ["clicks // views", "CAST(9e18 AS BIGINT) * clicks", "regexp_matches(name, '(')", "name::INTEGER"]
)
def test_an_expression_that_fails_on_a_record_is_the_failure_of_its_slices_only(session: Session, sql: str) -> None:
    ff.task("t", prediction="p.score", label="l.y", slices=[{"name": "s", "sql": sql}])
    ff.log("p", key="a", score=0.5, clicks=1, views=2, name="1")
    ff.log("other", key="a", v=1)
    assert ff.metric("other", "rows").value.value == 1.0
    ff.log("p", key="b", score=0.5, clicks=7, views=0, name="x")
    ff.log("l", key="a", y=1)
    ff.log("other", key="b", v=1)
    for _ in range(2):
        assert ff.metric("other", "rows").value.value == 2.0
        assert ff.metric("t", "predictions").value.value == 2.0
    with pytest.raises(ConfigError):
        ff.metric("t", "predictions", by="s")
    assert session.store.failures()
