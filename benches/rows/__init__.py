"""The rows of the tables, one file per section."""
