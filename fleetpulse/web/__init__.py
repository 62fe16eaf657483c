"""A small HTTP server for metrics pages, with the web configuration file that exporters share.

On asyncio and h11: one thread reads and writes all connections, a few others run the handlers.
"""
