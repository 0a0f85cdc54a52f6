import RegisterMaps
import Registers
import Testing

/// A block made from a few lines of map text, with a model that notes its hooks.
final class Device: RegisterModel {
    let block: RegisterBlock
    var hooks: [String] = []
    var coincident = CoincidentEvents.none
    var window: [UInt8] = Array(0..<16)

    init(_ text: String) {
        do { block = RegisterBlock(try RegisterMap(text: "block TEST 0x1000\n" + text)) } catch { fatalError("\(error)") }
    }

    /// One 32-bit register at 0 with these fields.
    convenience init(fields: String...) {
        self.init("register R 0 32\n" + fields.map { "field " + $0 }.joined(separator: "\n"))
    }

    @discardableResult
    func write(_ value: UInt64, _ address: UInt64 = 0, size: Int = 4) -> BusStatus {
        var access = BusAccess(write: value, to: address, size: size, initiator: .hart(0))
        return block.access(&access, model: self)
    }

    func read(_ address: UInt64 = 0, size: Int = 4) -> UInt64? {
        var access = BusAccess(read: address, size: size, initiator: .hart(0))
        return block.access(&access, model: self) == .ok ? access.value : nil
    }

    func status(read address: UInt64, size: Int = 4) -> BusStatus {
        var access = BusAccess(read: address, size: size, initiator: .hart(0))
        return block.access(&access, model: self)
    }

    func drive(_ field: Int, _ level: UInt64, register: Int = 0) { block.drive(RegisterIndex(rawValue: register), field: field, 0, level) }

    func name(_ register: RegisterIndex, _ element: Int) -> String { block.map[register].name(ofElement: element) }

    func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) { hooks.append("willRead \(name(register, element))") }
    func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        hooks.append("didRead \(name(register, element)) \(value)")
    }
    func willWrite(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) -> CoincidentEvents {
        hooks.append("willWrite \(name(register, element))")
        return coincident
    }
    func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        hooks.append("didWrite \(name(register, element)) \(old) \(new)")
    }
    func access(_ access: inout BusAccess, window index: WindowIndex) -> BusStatus {
        if access.isWrite {
            window[Int(access.address)] = UInt8(truncatingIfNeeded: access.value)
        } else {
            access.value = UInt64(window[Int(access.address)])
        }
        return .ok
    }
    func peek(_ offset: UInt64, size: Int, window index: WindowIndex) -> UInt64? { UInt64(window[Int(offset)]) }
}

/// Where a register of the firmware's bus is.
func busAddress(_ name: String) -> UInt64 {
    do { return try BusMap.firmwareBus.location(named: name).address } catch { fatalError("\(error)") }
}
