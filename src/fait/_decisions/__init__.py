"""Choices: how a command becomes events. Pure, but for the one loop that reads, decides, appends and tries again."""
