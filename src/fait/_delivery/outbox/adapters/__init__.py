"""Outbox adapters, one module per database library. A module is imported only when its library is used."""
