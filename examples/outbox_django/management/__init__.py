"""What `manage` can be told to do."""
