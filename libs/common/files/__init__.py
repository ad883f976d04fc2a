"""Records in files: read in and written out in the background, by jobs."""
