"""One small room for each library that a user's transaction may live in. None is imported before it is used."""
