"""Stores: the ports `Log` and `Ledger`, and the backends that implement both of them on one database.

Both ports share a database because read-model rows and checkpoint must commit in one transaction.
"""
