import Glibc

/// The interrupts of one function, through its UIO node (Linux, Documentation/driver-api/uio-howto).
public struct Interrupts {
    private let node: File

    public init(_ device: PCIDevice) throws(AgentError) {
        guard let path = device.interruptNode else {
            throw AgentError("\(device.address): no UIO driver is bound (uio_pci_generic); it has no folder `uio`")
        }
        node = try File(path, O_RDWR | O_NONBLOCK)
    }

    /// Waits until an interrupt has come, or `milliseconds` have passed.
    ///
    /// - Returns: how many interrupts there were in all, nil when none came in time.
    public func wait(milliseconds: Int32) throws(AgentError) -> UInt32? {
        if let count = try take() { return count }
        var poll = pollfd(fd: node.descriptor, events: Int16(POLLIN), revents: 0)
        let ready = Glibc.poll(&poll, 1, milliseconds)
        guard ready >= 0 || errno == EINTR else { throw .system("poll", node.path) }
        return ready > 0 ? try take() : nil
    }

    /// The interrupts counted so far if there were any since the last call.
    private func take() throws(AgentError) -> UInt32? {
        var count: UInt32 = 0
        let result = Glibc.read(node.descriptor, &count, 4)
        if result == 4 { return count }
        guard result < 0 && (errno == EAGAIN || errno == EINTR) else { throw .system("read", node.path) }
        return nil
    }
}
