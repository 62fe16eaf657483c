"""Mounts, and their figures by statvfs(2), which may never return."""
