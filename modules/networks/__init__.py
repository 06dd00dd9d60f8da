"""What makes a base model the user's own: LoRAs and their kin, textual inversions, hypernetworks. Put on for a job, taken off after it."""
