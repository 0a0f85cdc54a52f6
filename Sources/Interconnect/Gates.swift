import Simulation

// What one block asks or tells another outside the register bus, beside the data path's observers.

/// Takes the interrupt messages that a block sends: the MSI-X vectors of a PCI function.
public protocol InterruptMessageSink: AnyObject {
    /// A message with this vector was sent at `cycle`.
    func interruptMessage(_ vector: Int, at cycle: Cycle)
}

/// Decides who reaches which part of shared memory: the Resource Manager.
public protocol MemoryGuard: AnyObject {
    /// Whether `owner` may read and write all of `count` bytes from byte `offset` of shared memory. A refusal is counted.
    func permits(_ owner: Owner, offset: UInt64, count: UInt64, at cycle: Cycle) -> Bool
}
