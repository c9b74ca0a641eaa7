"""Describes the machine and the versions of a run, without names of hosts or people and without paths."""

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw

__all__ = ["machine", "versions"]


def machine(folder: Path) -> dict[str, str | int]:
    """Return processor, memory, operating system, and the file system of a folder."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file_system": _file_system(folder),
    }


def versions() -> dict[str, str]:
    """Return the versions of all programs and packages involved."""
    found = {"python": platform.python_version(), "sqlite (apsw)": apsw.sqlite_lib_version()}
    found["sqlite (sqlite3)"] = sqlite3.sqlite_version
    for package in ("fait", "msgspec", "apsw", "eventsourcing"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(folder: Path) -> str:
    try:
        lines = Path("/proc/mounts").read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    mounts = [(line.split()[1], line.split()[2]) for line in lines]
    return max((place for place in mounts if folder.resolve().is_relative_to(place[0])), key=lambda p: len(p[0]))[1]
