"""Keys that come more than once are found by their hashes, however these are spread over tasks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from fourfold.engine.spark import repeated
from fourfold.engine.spark.repeated import Compare, Hashes, several_of
from fourfold.fold.category import hash_texts


@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("held", [1, 50, 1 << 22])
def test_the_hashes_of_repeated_keys_are_found(parts: int, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_HELD", held)
    random = np.random.default_rng(5)
    tasks = [[f"k{n}" for n in random.integers(0, 300, 60)] + ["often"] * 40 for _ in range(3)]
    earlier = [f"k{n}" for n in range(250, 400)] * 2
    sent: dict[int, list[pa.Table]] = {}
    for keys, is_earlier in [*((keys, False) for keys in tasks), (earlier, True)]:
        hashes = Hashes(parts)
        tables = (pa.chunked_array([pa.array([*keys[i::4], None])]) for i in range(4))
        passed = [each for table in tables for each in hashes.add(table, earlier=is_earlier)]
        for each in [*passed, *hashes.passed()]:
            sent.setdefault(each.part, []).append(each.table)
    assert sent.keys() <= {*range(parts)}
    if held > 100:
        assert sum(table.num_rows for tables in sent.values() for table in tables) < 3 * 62 + len(earlier) + 1
    times = Counter(key for keys in tasks for key in keys)
    expected = {key for key, n in times.items() if n > 1 or key in earlier}
    found = [each.table for tables in sent.values() for each in Compare(1 << 20)(tables)]
    several = several_of(found)
    assert several is not None
    assert several.tolist() == sorted(hash_texts(pa.array(sorted(expected))).tolist())
    many = [each.table for tables in sent.values() for each in Compare(3)(tables)]
    assert several_of(many) is None


def test_where_no_key_is_repeated_nothing_is_passed_on() -> None:
    hashes = Hashes(2)
    keys = pa.chunked_array([pa.array([f"k{i}" for i in range(100)])])
    passed = [*hashes.add(keys, earlier=False), *hashes.passed()]
    assert not [each for part in passed for each in Compare(10)([part.table])]
    found = several_of([])
    assert found is not None and not len(found)
