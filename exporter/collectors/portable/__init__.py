"""Collectors for systems without /proc, as macOS and Windows: what psutil tells, same names.

Nothing here may need what only Linux, or only POSIX, has.
"""
