"""Who may come in: accounts, sessions, tokens, and the pages about them."""
