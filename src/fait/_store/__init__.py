"""Stores: the ports, and the backends that implement all of them on one database."""
