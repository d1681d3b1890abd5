"""How the embedded SAM and CLIP are made: see README.md in this folder."""
