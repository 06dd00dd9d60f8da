"""The album: every picture in the output folders, found, read, searched, sorted into boards, and thrown away with a way back."""
