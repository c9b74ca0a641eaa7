"""Verification of a store on the user's own server.

Processes append, read and are killed. Then a checker compares what they observed with what is stored.
"""
