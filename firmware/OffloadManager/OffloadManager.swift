// OffloadManager
