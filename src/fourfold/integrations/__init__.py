"""Other tools' formats and interfaces, one file each."""
