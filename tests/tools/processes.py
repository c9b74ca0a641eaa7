"""A process of a test that waits for input."""

import subprocess
import time
from typing import Any

import psutil


def interrupt_read(process: subprocess.Popen[Any], number: int) -> None:
    """Send a signal to a process that has asked, or read, once it waits for input.

    Python would run the handler of an earlier one only after the read that it is about to begin.
    """
    while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
