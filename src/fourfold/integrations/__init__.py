"""Other systems' formats, in and out; each needs an extra of its own."""
