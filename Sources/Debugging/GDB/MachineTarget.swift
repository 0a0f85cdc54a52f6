import OffloadDevice
import RISCV
import Registers

/// The harts of a machine as the target of a debugger.
public final class MachineTarget: DebugTarget {
    private let machine: Machine
    public let hartCount: Int

    public init(_ machine: Machine) {
        self.machine = machine
        hartCount = machine.description.harts
    }

    /// Holds the harts. `onStop` is called for every stop from now on, by any thread; it must not call the machine.
    public func attach(onStop: @escaping @Sendable () -> Void) { machine.attachDebugger(onStop: onStop) }

    /// Takes all breakpoints away and lets the harts go on.
    public func detach() { machine.detachDebugger() }

    // MARK: Stopping and going on

    public func activity(ofHart hart: Int) -> String { machine.inspect { $0.activity(ofHart: hart) } }
    public var stop: DebugStop? { machine.inspect { $0.debugStop } }
    public func hold() { machine.hold() }
    public func resume(_ actions: [HartAction]) { machine.resume(actions) }

    public func insertBreakpoint(_ address: UInt32) { machine.inspect { $0.insertBreakpoint(address) } }
    public func removeBreakpoint(_ address: UInt32) { machine.inspect { $0.removeBreakpoint(address) } }
    public func insertWatchpoint(_ watchpoint: Watchpoint) { machine.inspect { $0.insertWatchpoint(watchpoint) } }
    public func removeWatchpoint(_ watchpoint: Watchpoint) { machine.inspect { $0.removeWatchpoint(watchpoint) } }

    // MARK: Registers

    public func readRegister(_ register: HartRegister, hart: Int) -> UInt32? {
        machine.inspect { device in
            guard device.harts.indices.contains(hart) else { return nil }
            let hart = device.harts[hart]
            return switch register {
            case .integer(let number): hart[register: number]
            case .pc: hart.pc
            case .csr(let number): hart.readCSR(CSR(rawValue: number))
            case .privilege: UInt32(hart.state.privilege.rawValue)
            }
        }
    }

    public func writeRegister(_ register: HartRegister, hart: Int, _ value: UInt32) -> Bool {
        if case .done = machine.perform(.setRegister(register, hart: hart, value: value)) { true } else { false }
    }

    // MARK: Memory

    public func readMemory(_ address: UInt32, count: Int) -> [UInt8] {
        machine.inspect { device in
            var bytes: [UInt8] = []
            let end = min(UInt64(address) + UInt64(count), 1 << 32)
            while true {
                let next = UInt64(address) + UInt64(bytes.count)
                guard next < end else { return bytes }
                // Most registers answer whole words only.
                let word = next & ~3
                if let value = device.peek(.firmware, word, size: 4) {
                    for byte in next..<min(word + 4, end) { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * (byte - word)))) }
                } else if let value = device.peek(.firmware, next, size: 1) {
                    bytes.append(UInt8(truncatingIfNeeded: value))
                } else {
                    return bytes
                }
            }
        }
    }

    /// Writes words where it can, so that a register is written by one access.
    public func writeMemory(_ address: UInt32, _ bytes: [UInt8]) -> String? {
        var done = 0
        while done < bytes.count {
            let next = UInt64(address) + UInt64(done)
            var size = 4
            while next % UInt64(size) != 0 || size > bytes.count - done { size /= 2 }
            let value = bytes[done..<(done + size)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            let outcome = machine.perform(.debuggerWrite(address: next, size: size, value: value))
            if case .access(_, let status, _) = outcome, status != .ok {
                return "write of \(size) bytes to 0x\(String(next, radix: 16)): \(status)"
            }
            done += size
        }
        return nil
    }

    public var memoryMap: [TargetMemory] {
        let memories = machine.inspect { device in
            device.memoryRegions.map { TargetMemory(address: $0.base, count: $0.size, isReadOnly: $0.isReadOnly) }
        }
        let blocks = DeviceBus.firmware.map.blocks.map {
            TargetMemory(address: $0.base, count: ($0.map.size + 0xfff) & ~0xfff, isReadOnly: false)
        }
        return (memories + blocks).sorted { $0.address < $1.address }
    }

    // MARK: Monitor commands

    public func monitor(_ command: String) -> String { MonitorCommands(machine: machine).run(command) }
}
