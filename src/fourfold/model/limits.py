"""How large a message and a request may be that come over a network. A sender splits what is larger."""

BODY = 64 << 20  # bytes of a request's body, as it comes
JSON = 16 << 20  # bytes of JSON, which as values takes many times as much
PARTS = 2_000_000  # objects and lists of JSON: an empty one takes 3 bytes, and 70 as a value
AS_VALUES = 8  # times as much memory as its text, or more, that JSON takes as values
UNPACKED = 128 << 20  # bytes of the same without its compression
RECORDS = 1_000_000  # of a message
COLUMNS = 10_000
CELLS = 1 << 25  # records times columns of what is in memory at once: what is null takes room there, too
STREAMS = 1_000  # of a request: each has a log of its own
NAME = 16_384  # characters of the name of a column, a stream, a key
VALUES = 16_000_000  # of a column of lists
NESTING = 32  # levels of a column's type, and of a value
