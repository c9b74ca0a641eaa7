"""Programs that show how fait is used."""
