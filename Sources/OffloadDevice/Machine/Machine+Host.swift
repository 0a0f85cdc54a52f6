import PCIExpress
import Registers
import RISCV
import Simulation

// What host programs, and the people who run the machine, do to it.

extension Machine {
    /// Reads `size` bytes (1, 2, 4 or 8) at `offset` of a BAR.
    /// - Parameters:
    ///   - function: PCI function index: 0 the physical function, n virtual function n, 64 + k further physical function k.
    ///   - origin: process id of the host program.
    /// - Returns: the value, all ones if the status isn't `ok`.
    public func readBAR(function: Int, bar: Int, offset: UInt64, size: Int, origin: UInt64) -> (value: UInt64, status: BusStatus) {
        var access = BusAccess(read: offset, size: size, initiator: .host(function: function), origin: origin)
        let status = perform(function, bar, &access)
        return (access.value, status)
    }

    /// Writes `size` bytes (1, 2, 4 or 8) at `offset` of a BAR. A write whose status isn't `ok` was dropped.
    @discardableResult
    public func writeBAR(function: Int, bar: Int, offset: UInt64, size: Int, value: UInt64, origin: UInt64) -> BusStatus {
        var access = BusAccess(write: value, to: offset, size: size, initiator: .host(function: function), origin: origin)
        return perform(function, bar, &access)
    }

    private func perform(_ function: Int, _ bar: Int, _ access: inout BusAccess) -> BusStatus {
        lock.lock()
        defer { lock.unlock() }
        catchUp()
        access.time = device.scheduler.now
        let status = device.access(function: function, bar: bar, &access)
        if pace == .lockstep { device.run(until: access.time) }
        settle()
        return status
    }

    /// Reads configuration space, all at one moment.
    /// - Returns: bytes read; 0 if there is no such function.
    public func readConfiguration(function: Int, offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        access { $0.hierarchy.function(function)?.readConfiguration(offset, into: buffer) ?? 0 }
    }

    /// Writes configuration space, with all side effects.
    /// - Returns: bytes taken; 0 if there is no such function.
    public func writeConfiguration(function: Int, offset: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        access { $0.hierarchy.function(function)?.writeConfiguration(offset, bytes) ?? 0 }
    }

    /// Interrupts that have reached the host from a function since power-on.
    public func interruptCount(function: Int) -> UInt64 {
        locked { $0.interrupts.counts.indices.contains(function) ? $0.interrupts.counts[function] : 0 }
    }

    /// Types at the firmware's console.
    /// - Returns: how many bytes were taken.
    public func typeAtConsole(_ bytes: [UInt8]) -> Int { access { $0.uart.receive(bytes) } }

    /// Loads firmware from an ELF file's bytes and starts it.
    public func loadFirmware(_ elf: [UInt8]) throws(MachineError) {
        let image: ELFImage
        do {
            image = try ELFImage(elf)
        } catch {
            throw .firmware(error)
        }
        try access { (device) throws(MachineError) in
            do throws(ELFError) {
                try device.loadFirmware(image)
            } catch {
                throw .firmware(error)
            }
        }
    }

    /// Starts the firmware anew, without loading it.
    public func restartFirmware() throws(MachineError) {
        try access { (device) throws(MachineError) in try device.restartFirmware() }
    }

    /// Plants a memory error at a bus address in SRAM.
    public func injectMemoryError(at address: UInt64, isCorrectable: Bool) throws(MachineError) {
        try access { (device) throws(MachineError) in try device.injectMemoryError(at: address, isCorrectable: isCorrectable) }
    }
}
