"""Records of results/, and the pages that are generated from them."""
