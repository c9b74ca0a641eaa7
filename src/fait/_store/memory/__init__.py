"""The memory backend: all ports in plain Python. The reference for every other backend, and a store for tests.

Its data is private to the process and lost when the process ends. Otherwise it implements the ports in full. No method
awaits anything while it changes data, so each is atomic with respect to the other tasks of the event loop.
"""
