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

    public var map: BusMap {
        switch self {
        case .firmware: .firmwareBus
        case .physicalFunction: .pfBar0
        case .virtualFunction: .vfBar0
        }
    }
}

extension RegisterCatalogue {
    /// All registers of the device.
    public static let device = RegisterCatalogue(DeviceBus.allCases.map(\.map))
}
