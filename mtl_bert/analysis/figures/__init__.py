"""The figures of a report: each function draws one and returns it with words that describe it."""
