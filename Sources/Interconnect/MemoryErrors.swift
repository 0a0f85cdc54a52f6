import Registers

/// An error that the error-correcting code of a memory met.
public struct MemoryError: Hashable, Sendable {
    /// Offset of the 32-bit word in the memory.
    public var offset: UInt64
    public var isCorrected: Bool
    public var initiator: Initiator

    public init(offset: UInt64, isCorrected: Bool, initiator: Initiator) {
        self.offset = offset
        self.isCorrected = isCorrected
        self.initiator = initiator
    }
}

/// Is told of the errors that a memory meets, and of how many are planted.
public protocol MemoryErrorSink: AnyObject {
    func memoryErrorMet(_ error: MemoryError)
    /// The number of words with a planted error has changed.
    func plantedErrorsChanged(to count: Int)
}

/// A memory in which errors can be planted.
public protocol MemoryErrorInjection: AnyObject {
    /// Plants an error in the 32-bit word that contains this offset, instead of any that is there.
    /// - Returns: false if the memory has no such word.
    func plantError(at offset: UInt64, isCorrectable: Bool) -> Bool
    var plantedErrors: Int { get }
}
