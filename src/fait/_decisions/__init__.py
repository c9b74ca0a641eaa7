"""Decisions: commands become events. Pure, except the runner, which loads, decides, appends and retries."""
