"""Memory: everything durable, behind two ports. `Log` keeps events; `Ledger` keeps what was made of them.

Both are implemented by one backend on one database, because a read model's rows and its checkpoint must commit
together.
"""
