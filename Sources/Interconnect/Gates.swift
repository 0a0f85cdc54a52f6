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

/// What isolation refuses; the numbers are AUDIT's.
public enum Violation: UInt8, Sendable, CaseIterable {
    /// DMA outside of what is mapped for the function.
    case dma = 1
    /// An access to a BAR that nothing answers, or not in this way.
    case access
    /// A doorbell of a queue that isn't served, or that names another one.
    case doorbell
    /// A virtqueue that breaks the rules.
    case queue
    /// A memory block of another owner.
    case memory
    /// A forged interrupt.
    case interrupt
    /// A wrong key, or none, for an owner that has one.
    case key
    /// A virtual function's write to what the physical function alone decides.
    case configuration
    /// A component's image that isn't this component's.
    case image
}

/// Hears of everything that was refused for the sake of isolation: AUDIT.
public protocol IsolationObserver: AnyObject {
    /// - Parameters:
    ///   - owner: who tried; the host if nobody knows better.
    ///   - holder: whose it was; the device if it is nobody's.
    ///   - address: where, by the kind of violation.
    func refused(_ violation: Violation, to owner: Owner, holder: Owner, address: UInt64, at cycle: Cycle)
}

/// Compares the keys of owners: AUDIT.
public protocol KeyGuard: AnyObject {
    /// Whether the owner has no key, or has this one.
    func opens(_ owner: Owner, with key: UInt64) -> Bool
}
