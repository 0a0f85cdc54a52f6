import PCIExpress
import Registers

// What host programs, and the people who run the machine, do to it.

extension Machine {
    /// Does something to the device, at the present time of the pace.
    @discardableResult
    public func perform(_ input: HostInput) -> HostOutcome {
        lock.lock()
        defer { lock.unlock() }
        catchUp()
        let outcome = enter(input)
        if pace == .lockstep, case .access(_, _, let answered) = outcome { carry(to: answered) }
        settle()
        return outcome
    }

    /// The one place where an input enters the device.
    func enter(_ input: HostInput) -> HostOutcome {
        if case .access(let access) = input { accessCounts.count(access) }
        guard let journal else { return device.apply(input) }
        journal.begin(input, at: device.position)
        let outcome = device.apply(input)
        journal.end(outcome)
        return outcome
    }

    /// Reads `size` bytes (1, 2, 4 or 8) at `offset` of a BAR.
    /// - Parameters:
    ///   - function: PCI function index: 0 the physical function, n virtual function n, 64 + k further physical function k.
    ///   - origin: process id of the host program.
    /// - Returns: the value, all ones if the status isn't `ok`.
    public func readBAR(function: Int, bar: Int, offset: UInt64, size: Int, origin: UInt32) -> (value: UInt64, status: BusStatus) {
        access(HostAccess(function: function, bar: bar, offset: offset, size: size, origin: origin))
    }

    /// Writes `size` bytes (1, 2, 4 or 8) at `offset` of a BAR. A write whose status isn't `ok` was dropped.
    @discardableResult
    public func writeBAR(function: Int, bar: Int, offset: UInt64, size: Int, value: UInt64, origin: UInt32) -> BusStatus {
        access(HostAccess(function: function, bar: bar, offset: offset, size: size, value: value, origin: origin)).status
    }

    private func access(_ access: HostAccess) -> (value: UInt64, status: BusStatus) {
        guard case .access(let value, let status, _) = perform(.access(access)) else { return (.max, .unmapped) }
        return (value, status)
    }

    /// Reads configuration space, all at one moment.
    /// - Returns: bytes read; 0 if there is no such function.
    public func readConfiguration(function: Int, offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard case .read(let bytes) = perform(.readConfiguration(function: function, offset: offset, count: buffer.count)) else { return 0 }
        buffer.copyBytes(from: bytes)
        return bytes.count
    }

    /// Writes configuration space, with all side effects.
    /// - Returns: bytes taken; 0 if there is no such function.
    public func writeConfiguration(function: Int, offset: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        taken(perform(.writeConfiguration(function: function, offset: offset, bytes: Array(bytes))))
    }

    private func taken(_ outcome: HostOutcome) -> Int {
        if case .taken(let count) = outcome { count } else { 0 }
    }

    /// Interrupts that have reached the host from a function since power-on.
    public func interruptCount(function: Int) -> UInt64 {
        locked { $0.interrupts.counts.indices.contains(function) ? $0.interrupts.counts[function] : 0 }
    }

    /// Types at the firmware's console.
    /// - Returns: how many bytes were taken.
    public func typeAtConsole(_ bytes: [UInt8]) -> Int { taken(perform(.typeAtConsole(bytes))) }

    /// Types at the console that is a function.
    /// - Returns: how many bytes were taken.
    public func typeAtConsole(function: Int, _ bytes: [UInt8]) -> Int {
        taken(perform(.typeAtVirtioConsole(function: function, bytes)))
    }

    /// The host agent is gone, whether it has said so or not: what its driver does about it, in a register.
    public func detachAgent() {
        guard let block = DeviceBus.physicalFunction.map.blocks.first(where: { $0.name == "VIC_HOST" }) else { return }
        writeBAR(function: 0, bar: 0, offset: block.base, size: 4, value: 0, origin: 0)
    }

    /// Loads firmware from an ELF file's bytes and starts it.
    public func loadFirmware(_ elf: [UInt8]) throws(MachineError) { try perform(.loadFirmware(elf)).accepted() }

    /// Starts the firmware anew, without loading it: the harts are at its first instruction when this returns.
    public func restartFirmware() throws(MachineError) { try perform(.restartFirmware).accepted() }

    /// Plants a memory error at a bus address in SRAM.
    public func injectMemoryError(at address: UInt64, isCorrectable: Bool) throws(MachineError) {
        try perform(.memoryError(address: address, isCorrectable: isCorrectable)).accepted()
    }
}
