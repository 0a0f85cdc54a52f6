// HostAgent
