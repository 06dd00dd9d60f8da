"""Which device computes, in which precision, with which attention."""
