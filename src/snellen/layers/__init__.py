"""The papers' blocks, usable in any network."""
