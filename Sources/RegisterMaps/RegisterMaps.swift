// RegisterMaps
