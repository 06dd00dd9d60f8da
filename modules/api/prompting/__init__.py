"""Help with writing prompts: counted and looked over while they are typed."""
