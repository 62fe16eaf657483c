"""Prometheus' remote write, versions 1.0 and 2.0: from a request's bytes to pages for the store.

receiver → decode (snappy) → version1 | version2 → arrivals, table → paging → SampleWriter
"""
