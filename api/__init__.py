"""The API role: answers queries, takes pushes, keeps the keys."""
