"""One file for each way to reach people; base.py has what they share."""
