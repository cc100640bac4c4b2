"""What is fixed of a dimension, from all records on the cluster: its most frequent values, and its buckets' edges."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from fourfold.engine.duckdb import parts_of, sql
from fourfold.engine.duckdb.connection import connected, one_thread
from fourfold.engine.expressions import columns_of_slice
from fourfold.engine.protocol import ChangedLog
from fourfold.engine.spark.files import Columns, columns_of, frame, gathered
from fourfold.engine.spark.partial import Failing, failure_of
from fourfold.fold import KeptSlices
from fourfold.model import Dimension

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ACCURACY = 10_000  # of approximate quantiles: ranks are within one in so many
