"""The ports of a store: `Log`, and the ports for what is derived from the log. Every backend implements all of them.

They share a database because the rows of a read model and the position of its subscription commit in one transaction.
"""
