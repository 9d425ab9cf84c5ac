"""The composition root: one module for each role puts the rooms together and runs them."""
