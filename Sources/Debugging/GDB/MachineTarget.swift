import OffloadDevice
import Registers

/// The harts of a machine as the target of a debugger.
public final class MachineTarget: DeviceTarget {
    let machine: Machine
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

    public var stop: DebugStop? { machine.inspect { $0.debugStop } }
    public func hold() { machine.hold() }
    public func resume(_ actions: [HartAction]) { machine.resume(actions) }

    public func insertBreakpoint(_ address: UInt32) { machine.inspect { $0.insertBreakpoint(address) } }
    public func removeBreakpoint(_ address: UInt32) { machine.inspect { $0.removeBreakpoint(address) } }
    public func insertWatchpoint(_ watchpoint: Watchpoint) { machine.inspect { $0.insertWatchpoint(watchpoint) } }
    public func removeWatchpoint(_ watchpoint: Watchpoint) { machine.inspect { $0.removeWatchpoint(watchpoint) } }

    // MARK: Looking and writing

    func look<Result>(_ body: (Device) -> Result) -> Result { machine.inspect(body) }

    public func writeRegister(_ register: HartRegister, hart: Int, _ value: UInt32) -> Bool {
        if case .done = machine.perform(.setRegister(register, hart: hart, value: value)) { true } else { false }
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

    public func monitor(_ command: String) -> String {
        if let text = MonitorCommands(target: self, reset: restart).run(command) { return text }
        let name = command.prefix { $0 != " " }
        if StepCommand.names.contains(String(name)) {
            return "monitor: \(name): expected a device with a history, 'outrigger run --history', found one without\n"
        }
        return "monitor: unknown command '\(command)'\n" + MonitorHelp.common
    }

    /// - Returns: what the user is told.
    func restart() -> String {
        do throws(MachineError) {
            try machine.restartFirmware()
            return "the firmware is at its first instruction\n"
        } catch {
            return "\(error)\n"
        }
    }
}
