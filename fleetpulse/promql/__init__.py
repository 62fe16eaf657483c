"""PromQL over any SeriesReader, columnar: a range query is one pass over (series × steps)."""
