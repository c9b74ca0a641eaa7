"""Django's command line: `python -m examples.outbox_django.manage demo`."""

import os

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.outbox_django.settings")
    execute_from_command_line()
