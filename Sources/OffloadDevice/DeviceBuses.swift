import RegisterMaps
import Registers
import Tracing

/// The buses of the device on which a register access can be seen, in the order in which traces number them.
public enum DeviceBus: Int, CaseIterable, Sendable {
    case firmware
    /// BAR0 of the physical function.
    case physicalFunction
    /// The memory BAR with the registers of a virtio function: BAR0 of a virtual one, BAR4 of a further physical one.
    case virtualFunction
    /// I/O BAR0 of a further physical function, the legacy interface of its device.
    case legacyFunction

    public var map: BusMap {
        switch self {
        case .firmware: .firmwareBus
        case .physicalFunction: .pfBar0
        case .virtualFunction: .vfBar0
        case .legacyFunction: .tfBar0
        }
    }
}

extension DeviceBus {
    /// The block with this name, in upper or lower case, on the first bus that has it.
    public static func block(named name: String) -> (bus: DeviceBus, block: BusMap.Block)? {
        for bus in allCases {
            if let block = bus.map.blocks.first(where: { $0.name.lowercased() == name.lowercased() }) { return (bus, block) }
        }
        return nil
    }

    /// The register or field with this name, as people write it: see ``BusMap/location(named:)``.
    public static func location(named name: String) throws(RegisterNameError) -> (bus: DeviceBus, location: RegisterLocation) {
        let bus = block(named: String(name.prefix { $0 != "." }))?.bus ?? .firmware
        return (bus, try bus.map.location(named: name))
    }
}

extension TraceNames {
    /// Of all that the device's events tell by number.
    public static let device = TraceNames(.device, buses: DeviceBus.allCases.map(\.map), wires: TraceWires.names)
}

extension RegisterCatalogue {
    /// All registers of the device.
    public static let device = RegisterCatalogue(DeviceBus.allCases.map(\.map))
}
