"""The rows of the table, each file one section."""
