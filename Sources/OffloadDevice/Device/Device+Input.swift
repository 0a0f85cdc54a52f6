import PCIExpress
import Registers
import RISCV
import Virtio

// What the outside does to a device.

extension Device {
    /// Applies an input at the present cycle. Nothing else but device time changes the device.
    public func apply(_ input: HostInput) -> HostOutcome {
        // Also one that is refused: positions count what has been tried.
        defer { core.inputPerformed() }
        return carryOut(input)
    }

    private func carryOut(_ input: HostInput) -> HostOutcome {
        switch input {
        case .access(let access): perform(access)
        case .readConfiguration(let function, let offset, let count): readConfiguration(function, offset, count)
        case .writeConfiguration(let function, let offset, let bytes):
            .taken(bytes.withUnsafeBytes { hierarchy.function(function)?.writeConfiguration(offset, $0) ?? 0 })
        case .resetFunction(let index): outcome { () throws(MachineError) in
            guard hierarchy.resetFromHost(try present(index)) else {
                throw .request("function with index \(index): expected one that can be reset, found a bridge")
            }
        }
        case .enableFunction(let index, let isEnabled): outcome { () throws(MachineError) in
            // Also of one that is about to vanish: its driver lets it go.
            guard let function = hierarchy.function(index) else { throw Self.noFunction(index) }
            if isEnabled { function.enableFromHost() } else { function.disableFromHost() }
        }
        case .dropClientMemory(let index): outcome { () throws(MachineError) in
            // Also of one that has just vanished.
            guard let domain = hierarchy.function(index)?.domain else { throw Self.noFunction(index) }
            domain.dropClient()
        }
        case .setVirtualFunctions(let count): outcome { () throws(MachineError) in
            do throws(VirtualFunctionError) {
                try hierarchy.setVirtualFunctions(count)
            } catch {
                throw .virtualFunctions(error)
            }
        }
        case .setCard(let isPresent): outcome { () throws(MachineError) in
            guard hierarchy.setCard(isPresent: isPresent) else {
                throw .request(isPresent ? "card: expected an empty slot, found a card" : "card: expected a card in the slot, found none")
            }
            if isPresent { powerUp() } else { powerDown() }
        }
        case .configureFunction(let index): outcome { () throws(MachineError) in
            guard hierarchy.configureFromHost(try present(index)) else {
                throw .request("function with index \(index): expected a physical one that answers")
            }
        }
        case .maskInterruptLines: outcome { () throws(MachineError) in maskRisenLines() }
        case .typeAtConsole(let bytes): .taken(uart.receive(bytes))
        case .typeAtVirtioConsole(let index, let bytes): type(bytes, at: index)
        case .receiveFrame(let index, let bytes): receive(bytes, at: index)
        case .setLink(let index, let isUp): outcome { () throws(MachineError) in
            guard let network = virtioFunction(index)?.network else {
                throw .request("function with index \(index): expected a network device")
            }
            network.setLink(isUp: isUp)
        }
        case .frontEnd(let index, let input):
            virtioFunction(index)?.apply(input, hierarchy.iommu.externalMemory, at: scheduler.now) ?? .refused(Self.noFunction(index))
        case .medium(let index, let operation): perform(operation, at: index)
        case .loadFirmware(let elf): outcome { () throws(MachineError) in
            try requirePower()
            do throws(ELFError) {
                try load(try ELFImage(elf))
            } catch {
                throw .firmware(error)
            }
        }
        case .restartFirmware: outcome { () throws(MachineError) in
            try requirePower()
            guard hasFirmware else { throw .request("restart: expected a device with firmware, found one without") }
            core.requestFirmwareReset(.host)
            core.performRequests()
        }
        case .memoryError(let address, let isCorrectable): outcome { () throws(MachineError) in
            try plantMemoryError(at: address, isCorrectable: isCorrectable)
        }
        case .uncorrectableError(let error, let index): outcome { () throws(MachineError) in try present(index).report(error) }
        case .correctableError(let error, let index): outcome { () throws(MachineError) in try present(index).report(error) }
        case .interrupt(let vector, let index): outcome { () throws(MachineError) in
            guard try present(index).raise(vector) != .ignored else {
                throw .request("interrupt: expected an enabled MSI-X vector of the function with index \(index), found \(vector)")
            }
        }
        case .appointment(let cycle): outcome { () throws(MachineError) in core.makeAppointment(at: cycle) }
        case .keepHarts(let mask): outcome { () throws(MachineError) in core.keepHarts(mask) }
        case .debuggerWrite(let address, let size, let value): debuggerWrite(value, to: address, size: size)
        case .setRegister(let register, let hart, let value): outcome { () throws(MachineError) in
            guard core.harts.indices.contains(hart), core.harts[hart].set(register, value) else {
                throw .request("hart \(hart): expected a register that can be written, found \(register)")
            }
        }
        }
    }

    private func outcome(_ body: () throws(MachineError) -> Void) -> HostOutcome {
        do {
            try body()
            return .done
        } catch {
            return .refused(error)
        }
    }

    private static func noFunction(_ index: Int) -> MachineError {
        .request("function with index \(index): expected one that is present, found none")
    }

    private func present(_ index: Int) throws(MachineError) -> PCIFunction {
        guard let function = hierarchy.function(index), function.isPresent else { throw Self.noFunction(index) }
        return function
    }

    private func requirePower() throws(MachineError) {
        guard hierarchy.isCardPresent else { throw .request("firmware: expected a card in the slot, found none") }
    }

    // MARK: Accesses

    private func perform(_ request: HostAccess) -> HostOutcome {
        let issued = scheduler.now, initiator = Initiator.host(function: request.function)
        var access = request.value.map {
            BusAccess(write: $0, to: request.offset, size: request.size, initiator: initiator, origin: request.origin, time: issued)
        } ?? BusAccess(read: request.offset, size: request.size, initiator: initiator, origin: request.origin, time: issued)
        recorder.begin(at: issued)
        let status = hierarchy.access(function: request.function, bar: request.bar, &access)
        if recorder.isRecording {
            // BAR0 is what the register maps describe; other BARs are told apart by the upper half of the address.
            let address = UInt64(truncatingIfNeeded: request.bar) << 32 | access.address
            let bus: DeviceBus =
                if request.function == 0 {
                    .physicalFunction
                } else if request.bar == 0, virtioFunction(request.function)?.legacy != nil {
                    .legacyFunction
                } else {
                    .virtualFunction
                }
            recorder.finish(&access, address: address, bus: bus, status: status)
        }
        return .access(value: access.value, status: status, time: access.time)
    }

    private func readConfiguration(_ index: Int, _ offset: Int, _ count: Int) -> HostOutcome {
        guard let function = hierarchy.function(index) else { return .read([]) }
        return .read([UInt8](unsafeUninitializedCapacity: min(max(count, 0), ConfigurationSpace.size)) { buffer, count in
            count = function.readConfiguration(offset, into: UnsafeMutableRawBufferPointer(buffer))
        })
    }

    /// Masks the INTx lines that have risen (`pci_check_and_mask_intx`).
    private func maskRisenLines() {
        let lines = interrupts.unmaskedLines
        interrupts.unmaskedLines.removeAll()
        for index in lines {
            guard let function = hierarchy.function(index) else { continue }
            let command = function.readConfiguration(4, size: 2)
            function.writeConfiguration(4, size: 2, command | 1 << 10)
        }
    }

    // MARK: Consoles and networks

    private func type(_ bytes: [UInt8], at index: Int) -> HostOutcome {
        guard let console = virtioFunction(index)?.console else {
            return .refused(.request("function with index \(index): expected a console"))
        }
        return .taken(console.type(bytes))
    }

    private func receive(_ bytes: [UInt8], at index: Int) -> HostOutcome {
        guard let network = virtioFunction(index)?.network else {
            return .refused(.request("function with index \(index): expected a network device"))
        }
        bytes.withUnsafeBytes { network.receive(NetworkFrame($0)) }
        return .done
    }

    // MARK: Media

    /// Only the owner of a component reaches its medium: while the device serves it, or it moves, the host is refused.
    private func perform(_ operation: MediumOperation, at index: Int) -> HostOutcome {
        guard let block = virtioFunction(index)?.block, componentController.isOnHost(index) else {
            return .refused(.request("medium of the function with index \(index): expected a disk that the host serves"))
        }
        do throws(BackendError) {
            switch operation {
            case .read(let position, let count): return .read(try block.readMedium(position, count: count))
            case .write(let position, let bytes): try block.writeMedium(position, bytes)
            case .flush: try block.flushMedium()
            }
            return .done
        } catch {
            return .refused(.request("medium of the function with index \(index): \(error)"))
        }
    }

    // MARK: Firmware

    private func load(_ image: ELFImage) throws(ELFError) {
        try image.load(into: core.memory)
        systemController.bootAddress = image.entry
        hasFirmware = true
        coverCode(of: image)
        recorder.firmwareTrace.follow(image, base: DeviceBus.firmware.map.memory("SRAM").offset)
        core.requestFirmwareReset(.host)
        core.performRequests()
    }

    // MARK: Injection

    private func plantMemoryError(at address: UInt64, isCorrectable: Bool) throws(MachineError) {
        let memory = DeviceBus.firmware.map.memory("SRAM")
        guard sram.plantError(at: address &- memory.offset, isCorrectable: isCorrectable) else {
            let range = "0x\(String(memory.offset, radix: 16)) to 0x\(String(memory.offset + memory.size - 1, radix: 16))"
            throw .request("memory error: expected an address in SRAM, \(range), found 0x\(String(address, radix: 16))")
        }
    }

    // MARK: Debugging

    private func debuggerWrite(_ value: UInt64, to address: UInt64, size: Int) -> HostOutcome {
        let now = scheduler.now
        var access = BusAccess(write: value, to: address, size: size, initiator: .debugger, time: now)
        recorder.begin(at: now)
        let status = crossbar.access(&access, in: .firmware)
        if recorder.isRecording { recorder.finish(&access, address: address, bus: .firmware, status: status) }
        if status == .ok { core.memory.wasWritten(UInt32(truncatingIfNeeded: address), bytes: size) }
        return .access(value: value, status: status, time: access.time)
    }
}

extension Hart {
    /// - Returns: false if there is no such register or it can't be written.
    fileprivate func set(_ register: HartRegister, _ value: UInt32) -> Bool {
        switch register {
        case .integer(let number):
            guard (0..<32).contains(number) else { return false }
            self[register: number] = value
        case .pc: pc = value
        case .csr(let number): return writeCSR(CSR(rawValue: number), value)
        case .privilege:
            guard let privilege = UInt8(exactly: value).flatMap(Privilege.init) else { return false }
            state.privilege = privilege
        }
        return true
    }
}
