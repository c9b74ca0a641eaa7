"""The advisor: from a description of a system to the patterns that it needs, or none, with reasons."""
