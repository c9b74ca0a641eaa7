"""The PostgreSQL backend: any number of processes on any number of machines share one log in one global order."""
