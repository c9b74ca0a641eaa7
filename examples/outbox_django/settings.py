"""The shop's settings: one database, named by the URL in FAIT_STORE, for the tables and the log."""

import os
from typing import Any
from urllib.parse import unquote, urlsplit

SECRET_KEY = "this shop signs nothing"  # noqa: S105
INSTALLED_APPS = ["examples.outbox_django"]
USE_TZ = True


def database(url: str) -> dict[str, Any]:
    """What Django calls the database that fait knows by this URL."""
    if url.startswith("sqlite:///"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }
    address = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": address.path[1:],
        "HOST": address.hostname,
        "PORT": address.port,
        "USER": unquote(address.username or ""),
        "PASSWORD": unquote(address.password or ""),
    }


DATABASES = {"default": database(os.environ["FAIT_STORE"])}
