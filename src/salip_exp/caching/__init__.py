"""The stage cache: what a stage computed, kept under all that it depends on, so that it is computed once."""
