import Interconnect
import PCIExpress
import Registers
import Simulation

/// A hierarchy with a register-like target behind every BAR, and a record of everything it tells the outside.
final class Fixture: InterruptSink, HierarchyDelegate, DMAObserver {
    enum Event: Equatable {
        case message(function: Int, vector: Int, InterruptMessage)
        case line(function: Int, Bool)
        case reset(function: Int, FunctionReset)
        case virtualFunctions(Int)
        case written(owner: UInt8, address: UInt64, bytes: Int, cycle: Cycle)
    }
    let scheduler = Scheduler()
    let hierarchy: PCIHierarchy
    var events: [Event] = []
    /// By function index and BAR.
    private(set) var targets: [[MemoryTarget?]] = []

    init(_ description: HierarchyDescription = HierarchyDescription()) throws {
        hierarchy = try PCIHierarchy(description, scheduler: scheduler)
        hierarchy.interrupts = self
        hierarchy.delegate = self
        hierarchy.iommu.observer = self
        targets = Array(repeating: Array(repeating: nil, count: 6), count: HierarchyDescription.indexLimit)
        for function in hierarchy.all {
            for bar in function.bars {
                let target = MemoryTarget(size: Int(min(bar.size, 64 << 10)))
                targets[function.index][bar.index] = target
                function.attach(target, bar: bar.index)
            }
        }
    }

    /// One with all kinds of functions: 64 VFs, transitional net and block devices as functions 1 and 5.
    static func full() throws -> Fixture {
        var description = HierarchyDescription()
        description.totalVFs = 64
        description.furtherFunctions = [
            .init(number: 5, function: .transitional(type: 2)), .init(number: 1, function: .transitional(type: 1)),
        ]
        return try Fixture(description)
    }

    var physical: PCIFunction { hierarchy.physicalFunction }
    func function(_ index: Int) -> PCIFunction { hierarchy.function(index)! }

    func messageSignaled(function: Int, vector: Int, message: InterruptMessage) {
        events.append(.message(function: function, vector: vector, message))
    }
    func lineChanged(function: Int, level: Bool) { events.append(.line(function: function, level)) }
    func functionReset(_ function: Int, _ kind: FunctionReset) { events.append(.reset(function: function, kind)) }
    func virtualFunctionsChanged(count: Int) { events.append(.virtualFunctions(count)) }
    func memoryWritten(owner: Owner, address: UInt64, bytes: Int, at cycle: Cycle) {
        events.append(.written(owner: owner.rawValue, address: address, bytes: bytes, cycle: cycle))
    }

    /// Reads a BAR as a host program.
    func read(_ function: Int, _ bar: Int, _ address: UInt64, size: Int = 4) -> (status: BusStatus, value: UInt64) {
        var access = BusAccess(read: address, size: size, initiator: .host(function: function))
        let status = hierarchy.access(function: function, bar: bar, &access)
        return (status, access.value)
    }

    /// Writes a BAR as a host program.
    @discardableResult
    func write(_ function: Int, _ bar: Int, _ address: UInt64, _ value: UInt64, size: Int = 4) -> BusStatus {
        var access = BusAccess(write: value, to: address, size: size, initiator: .host(function: function))
        return hierarchy.access(function: function, bar: bar, &access)
    }
}

/// Plain memory that counts its accesses and refuses what it is told to.
final class MemoryTarget: BusTarget {
    var bytes: [UInt8]
    var accesses = 0
    /// What every access ends with, if it isn't `ok`.
    var refusal = BusStatus.ok

    init(size: Int) { bytes = [UInt8](repeating: 0, count: size) }

    func access(_ access: inout BusAccess) -> BusStatus {
        accesses += 1
        guard refusal == .ok else { return refusal }
        guard access.address <= UInt64(bytes.count), UInt64(access.size) <= UInt64(bytes.count) - access.address else { return .unmapped }
        let start = Int(access.address)
        if access.isWrite {
            for i in 0..<Int(access.size) { bytes[start + i] = UInt8(truncatingIfNeeded: access.value >> UInt64(8 * i)) }
        } else {
            access.value = peek(access.address, size: Int(access.size))!
        }
        return .ok
    }

    func peek(_ address: UInt64, size: Int) -> UInt64? {
        guard address <= UInt64(bytes.count), size <= bytes.count - Int(address) else { return nil }
        return (0..<size).reduce(0) { $0 | UInt64(bytes[Int(address) + $1]) << UInt64(8 * $1) }
    }
}

extension PCIFunction {
    /// Offset of a capability in the first 256 bytes, found as software finds it.
    func capability(_ id: UInt8) -> Int? {
        chain().first { $0.id == id }?.offset
    }

    func extendedCapability(_ id: UInt16) -> Int? {
        extendedChain().first { $0.id == id }?.offset
    }

    /// The capability list; stops after 48 entries, more than fit.
    func chain() -> [(id: UInt8, offset: Int)] {
        guard readConfiguration(Header.status, size: 2) & 0x10 != 0 else { return [] }
        var list: [(id: UInt8, offset: Int)] = []
        var offset = Int(readConfiguration(Header.capabilities, size: 1))
        while offset != 0, list.count < 48 {
            list.append((UInt8(readConfiguration(offset, size: 1)), offset))
            offset = Int(readConfiguration(offset + 1, size: 1))
        }
        return list
    }

    func extendedChain() -> [(id: UInt16, offset: Int)] {
        var list: [(id: UInt16, offset: Int)] = []
        var offset = 0x100
        while offset != 0, list.count < 240 {
            let header = readConfiguration(offset, size: 4)
            if header == 0 { break }
            list.append((UInt16(truncatingIfNeeded: header), offset))
            offset = Int(header >> 20)
        }
        return list
    }

    func bytes(_ offset: Int = 0, count: Int = ConfigurationSpace.size) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, used in used = readConfiguration(offset, into: .init(buffer)) }
    }
}
