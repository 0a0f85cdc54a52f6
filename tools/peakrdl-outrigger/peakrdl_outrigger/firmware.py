def block_source(block, source=""):
    return ""
