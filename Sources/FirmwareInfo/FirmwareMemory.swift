/// Where a firmware's memory can be read without its help: a running device, a snapshot, a recording.
///
/// Reading has no side effects, and the firmware needn't run for it.
public protocol FirmwareMemory {
    /// Plain memory on the firmware's bus, all of one moment.
    /// - Returns: nil if there is no memory at one of the addresses.
    func bytes(at address: UInt32, count: Int) throws -> [UInt8]?

    /// The harts, by number, all of one moment.
    func harts() throws -> [HartView]

    /// A register's present value by its name, `HOSTIF.FAULT_PC`; nil if it can't be read.
    func register(_ name: String) throws -> UInt64?
}

/// A hart at one moment.
public struct HartView: Equatable, Sendable {
    public var registers: HartRegisters
    public var activity: Activity
    /// The memory from the stack pointer on, of the same moment as the registers; what memory says later may be newer.
    public var stack: [UInt8]

    /// With the names that people see.
    public enum Activity: String, Sendable {
        case running
        case waiting = "waiting (wfi)"
        case off
    }

    public init(registers: HartRegisters, activity: Activity, stack: [UInt8]) {
        self.registers = registers
        self.activity = activity
        self.stack = stack
    }

    /// Bytes of ``stack`` that a view has.
    public static let stackBytes = 4096

    /// A word of ``stack``.
    func stackWord(_ address: UInt32) -> UInt32? { word(of: stack, at: address &- registers.x[2]) }
}

extension FirmwareMemory {
    /// The contents of a symbol.
    func contents(of symbol: String, of information: DebugInformation) throws -> (address: UInt32, bytes: [UInt8]) {
        guard let found = information.image.symbol(symbol) else {
            throw DebugInformationError.unexpected("the image has no symbol '\(symbol)'")
        }
        guard let bytes = try bytes(at: found.address, count: Int(min(found.size, Self.largestSymbol))) else {
            throw DebugInformationError.unexpected("\(symbol): the device has no memory at 0x\(String(found.address, radix: 16))")
        }
        return (found.address, bytes)
    }

    private static var largestSymbol: UInt32 { 1 << 20 }
}

/// A little-endian word; nil if it isn't all there.
func word(of bytes: [UInt8], at offset: UInt32) -> UInt32? {
    let start = Int(offset)
    guard start + 4 <= bytes.count else { return nil }
    return (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
}

extension DebugInformation {
    /// The call stack of a hart as it was when looked at.
    public func backtrace(of hart: HartView, in memory: any FirmwareMemory) -> [Frame] {
        backtrace(of: hart.registers, isWaiting: hart.activity == .waiting) { address in
            if let word = hart.stackWord(address) { return word }
            return (try? memory.bytes(at: address, count: 4)).flatMap { $0 }.flatMap { word(of: $0, at: 0) }
        }
    }

    /// Whether a memory holds this image's code.
    public func isLoaded(in memory: any FirmwareMemory) throws -> Bool {
        for segment in image.segments where segment.isExecutable && !segment.fileBytes.isEmpty {
            guard let bytes = try memory.bytes(at: segment.address, count: segment.fileBytes.count) else { return false }
            guard bytes.elementsEqual(image.contents(of: segment)) else { return false }
        }
        return true
    }

    /// How a number is shown: decimal, addresses in hexadecimal, those of code with their function.
    func describe(_ value: UInt64) -> String {
        guard value >= 0x8000_0000 else { return String(value) }
        let text = "0x" + String(value, radix: 16)
        guard let address = UInt32(exactly: value), let function = function(containing: address) else { return text }
        return "\(text) <\(function.name)>"
    }
}
