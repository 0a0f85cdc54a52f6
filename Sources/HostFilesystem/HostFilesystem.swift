// HostFilesystem
