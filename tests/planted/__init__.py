"""Faults that are planted in the code to see that the tests can fail, room by room."""
