import Registers
import Simulation
import Testing

/// Software's side of a block in tests: 32-bit accesses by register name, stamped with the present device cycle.
struct RegisterProbe {
    let target: any BusTarget
    let map: RegisterMap
    let scheduler: Scheduler
    var initiator = Initiator.hart(0)

    func address(_ register: some RegisterKey, _ element: Int = 0) -> UInt64 {
        map.registers[register.index.rawValue].offset(ofElement: element)
    }

    /// A 64-bit register is read as two words, the low one first.
    func read(_ register: some RegisterKey, _ element: Int = 0) -> UInt64 {
        let address = address(register, element)
        guard map.registers[register.index.rawValue].width == 64 else { return word(address) }
        return word(address) | word(address + 4) << 32
    }

    func read<Register: RegisterKey>(_ field: FieldKey<Register>, _ register: Register, _ element: Int = 0) -> UInt64 {
        field.value(in: read(register, element))
    }

    func word(_ address: UInt64) -> UInt64 {
        var access = BusAccess(read: address, size: 4, initiator: initiator, time: scheduler.now)
        let status = target.access(&access)
        #expect(status == .ok, "read at \(map.name)+\(address)")
        return access.value
    }

    func write(_ register: some SingleRegisterKey, _ value: UInt64) {
        #expect(status(writing: value, to: address(register)) == .ok, "write to \(map.name)+\(address(register))")
    }

    func write(_ register: some RegisterArrayKey, _ element: Int, _ value: UInt64) {
        #expect(status(writing: value, to: address(register, element)) == .ok, "write to \(map.name)+\(address(register, element))")
    }

    func status(writing value: UInt64, to address: UInt64, size: Int = 4) -> BusStatus {
        var access = BusAccess(write: value, to: address, size: size, initiator: initiator, time: scheduler.now)
        return target.access(&access)
    }

    func status(reading address: UInt64, size: Int = 4) -> BusStatus {
        var access = BusAccess(read: address, size: size, initiator: initiator, time: scheduler.now)
        return target.access(&access)
    }
}
