"""Jobs: kept on disk before they are answered, run one after another, never lost. No torch."""
