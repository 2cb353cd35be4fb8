"""Methods from neighbouring papers, tried at small size; nothing here is part of the package."""
