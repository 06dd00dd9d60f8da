"""Making pictures larger: resizing, networks in files through spandrel, tiles; and restoring faces."""
