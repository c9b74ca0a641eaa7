"""Settings of the shop: the tables and the log are in one database, whose URL is in FAIT_STORE."""

import os
from typing import Any
from urllib.parse import unquote, urlsplit

SECRET_KEY = "not used"  # noqa: S105
INSTALLED_APPS = ["examples.outbox_django"]
USE_TZ = True


def database(url: str) -> dict[str, Any]:
    """Convert a store URL of fait to Django's database settings."""
    if url.startswith("sqlite:///"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
    }


DATABASES = {"default": database(os.environ["FAIT_STORE"])}
