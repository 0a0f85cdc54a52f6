import Registers

/// Is told what models do, while somebody records it: docs/architecture.md, "Trace events".
///
/// A model has a sink only meanwhile, so that otherwise telling costs the test of a pointer. What is told happens at the device's present
/// cycle. A sink changes nothing of the machine.
public protocol TraceSink: AnyObject {
    /// A block's interrupt line, an input of the PLIC, has changed its level.
    func interruptLineChanged(source: Int, level: Bool)
    /// A transfer by a function's DMA has ended. No byte has moved unless `status` is `ok`.
    func memoryTransferred(function: Int, address: UInt64, bytes: Int, isWrite: Bool, status: BusStatus)
    /// A virtqueue of a function has got on. `depth`: chains that the device has, after that.
    func queueStepped(function: Int, queue: Int, _ step: QueueStep, depth: Int)
    /// The hardware has noticed that something went wrong.
    func faultMet(_ fault: DeviceFault)
    /// The firmware has printed a line; `text` is without its end.
    func linePrinted(_ text: [UInt8])
}

/// What happens in a virtqueue. A chain is told apart by its head.
public enum QueueStep: Hashable, Sendable {
    /// The driver has rung the doorbell.
    case doorbell
    /// The device has taken a chain whose buffers have so many bytes.
    case taken(head: UInt16, bytes: UInt64)
    /// The device has given a chain back, of which it wrote so many bytes.
    case completed(head: UInt16, written: UInt32)
    /// The driver was sent an interrupt about used chains.
    case notified
}

/// What went wrong; names and reasons are for people.
public enum DeviceFault: Sendable {
    /// The IOMMU refused a function's transfer.
    case iommu(function: Int, address: UInt64, cause: String)
    /// A function, or a port above it, detected an error of PCI Express.
    case aer(function: Int, error: String)
    /// The error-correcting code of a memory met an error.
    case ecc(initiator: Initiator, address: UInt64, isCorrected: Bool)
    /// The watchdog has the firmware restarted.
    case watchdog
    /// A driver did what no device can serve: the function's device needs a reset.
    case queue(function: Int, queue: Int, reason: String)
}
