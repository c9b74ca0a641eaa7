"""Exports of jobs of other libraries, for `fait import`."""
