"""What picture files tell of how they were made: carriers find the texts, readers (one file a program) understand them."""
