// OffloadDevice
