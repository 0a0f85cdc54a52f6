import PCIExpress
import Peripherals
import Registers
import RISCV
import Simulation

// What the host and people do to a device.

extension Device {
    // MARK: Accesses of host programs

    /// An access to a BAR at the present cycle. `access.address` is relative to the BAR; `access.time` comes back as the cycle at which the
    /// host has its answer.
    public func access(function: Int, bar: Int, _ access: inout BusAccess) -> BusStatus {
        let issued = access.time
        recorder.begin()
        let status = hierarchy.access(function: function, bar: bar, &access)
        if recorder.isRecording {
            // BAR0 is what the register maps describe; other BARs are told apart by the upper half of the address.
            let address = UInt64(bar) << 32 | access.address
            let bus = function == 0 ? DeviceBus.physicalFunction : .virtualFunction
            recorder.finish(access, address: address, bus: bus, issued: issued, status: status)
        }
        return status
    }

    /// Masks the INTx lines that have risen, as the host's generic interrupt handler does (`pci_check_and_mask_intx`).
    func maskRisenLines() {
        let lines = interrupts.unmaskedLines
        interrupts.unmaskedLines.removeAll()
        for index in lines {
            guard let function = hierarchy.function(index) else { continue }
            let command = function.readConfiguration(4, size: 2)
            function.writeConfiguration(4, size: 2, command | 1 << 10)
        }
    }

    // MARK: Firmware

    /// Loads an image into memory and starts it.
    public func loadFirmware(_ image: ELFImage) throws(ELFError) {
        try image.load(into: core.memory)
        systemController.bootAddress = image.entry
        hasFirmware = true
        core.requestFirmwareReset(.host)
    }

    /// Starts the loaded firmware anew.
    public func restartFirmware() throws(MachineError) {
        guard hasFirmware else { throw .request("restart: expected a device with firmware, found one without") }
        core.requestFirmwareReset(.host)
    }

    // MARK: Injection

    /// Plants a memory error at a bus address in SRAM.
    public func injectMemoryError(at address: UInt64, isCorrectable: Bool) throws(MachineError) {
        let memory = DeviceBus.firmware.map.memory("SRAM")
        guard sram.plantError(at: address &- memory.offset, isCorrectable: isCorrectable) else {
            let range = "0x\(String(memory.offset, radix: 16)) to 0x\(String(memory.offset + memory.size - 1, radix: 16))"
            throw .request("memory error: expected an address in SRAM, \(range), found 0x\(String(address, radix: 16))")
        }
    }

    // MARK: Looking

    /// What a read on one of the buses would return, without side effects. Addresses on the functions' buses are offsets in the BAR that
    /// the register map describes.
    /// - Parameter function: of the virtio functions' bus: the index of which one.
    public func peek(_ bus: DeviceBus, _ address: UInt64, size: Int, function: Int = 1) -> UInt64? {
        switch bus {
        case .firmware: crossbar.peek(address, size: size, in: .firmware)
        case .physicalFunction: crossbar.peek(address, size: size, in: .host)
        case .virtualFunction: blockFunction(function)?.transport.peek(address, size: size)
        }
    }
}
