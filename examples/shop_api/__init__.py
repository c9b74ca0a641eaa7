"""The shop on the web, with FastAPI."""
