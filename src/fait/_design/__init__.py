"""The design document: what an app declares, as data and as Markdown, and whether a committed document still agrees."""
