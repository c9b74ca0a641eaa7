"""The PostgreSQL backend: any number of processes on any number of machines, and one order that nothing breaks."""
