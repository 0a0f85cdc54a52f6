import FirmwareInfo
import OffloadDevice
import RISCV

/// The firmware of a device in this process.
extension Device: FirmwareMemory {
    public func bytes(at address: UInt32, count: Int) -> [UInt8]? {
        let found = memory(at: address, count: count)
        return found.count == count ? Array(found) : nil
    }

    public func harts() -> [HartView] {
        harts.map { hart in
            let stack = memory(at: hart[register: 2], count: HartView.stackBytes)
            return HartView(
                registers: HartRegisters(hart), activity: HartView.Activity(rawValue: activity(ofHart: hart.id)) ?? .running,
                stack: Array(stack))
        }
    }

    /// Registers of the firmware's bus and of the physical function.
    public func register(_ name: String) -> UInt64? {
        guard let (bus, location) = try? DeviceBus.location(named: name) else { return nil }
        let address = location.block.base + location.register.offset(ofElement: location.element)
        return peek(bus, address, size: location.register.width / 8)
    }

    /// A little-endian word of plain memory.
    public func word(at address: UInt32) -> UInt32? {
        let found = memory(at: address, count: 4)
        return found.count == 4 ? found.loadUnaligned(as: UInt32.self) : nil
    }
}

extension HartRegisters {
    public init(_ hart: Hart) { self.init(x: (0..<32).map { hart[register: $0] }, pc: hart.pc) }
}

extension DebugInformation {
    /// The calls that led to where a hart is, innermost first, with those that were inlined.
    public func backtrace(ofHart number: Int, in device: Device) -> [Frame] {
        guard device.harts.indices.contains(number) else { return [] }
        let isWaiting = device.activity(ofHart: number) == HartView.Activity.waiting.rawValue
        return backtrace(of: HartRegisters(device.harts[number]), isWaiting: isWaiting, device.word)
    }
}

extension ExecutionProfile {
    /// Cycles by place, with those in which a hart waited.
    public var samples: [Profile.Sample] {
        waiting.enumerated().map { Profile.Sample(hart: $0, cycles: $1, stack: []) }
            + cycles.sorted { $0.key < $1.key }.map { Profile.Sample(hart: $0.key.hart, cycles: $0.value, stack: $0.key.stack) }
    }
}

extension Device {
    /// Begins a profile with call stacks.
    /// - Parameter information: of the firmware; what other firmware executes has no callers.
    public func startProfile(interval: UInt64, by information: DebugInformation?) {
        guard let information, (try? information.isLoaded(in: self)) == true else {
            return startProfile(interval: interval, unwind: nil)
        }
        startProfile(interval: interval) { [unowned self] hart in information.callStack(of: HartRegisters(hart), self.word) }
    }
}
