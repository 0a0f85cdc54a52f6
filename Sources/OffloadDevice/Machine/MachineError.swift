import PCIExpress
import Peripherals
import RISCV
import Virtio

/// Why a machine can't be made, or can't do what was asked of it.
public enum MachineError: Error, CustomStringConvertible {
    /// The description contradicts itself.
    case description(String)
    case memory(MemoryPagesError)
    /// The disk of a function can't be used.
    case backend(function: String, BackendError)
    /// The network of a function can't be used.
    case network(function: String, NetworkBackendError)
    case firmware(ELFError)
    case virtualFunctions(VirtualFunctionError)
    /// An injection, a firmware restart, an advance that makes no sense now.
    case request(String)

    public var description: String {
        switch self {
        case .description(let text): text
        case .memory(let error): "\(error)"
        case .backend(let function, let error): "\(function): \(error)"
        case .network(let function, let error): "\(function): \(error)"
        case .firmware(let error): "\(error)"
        case .virtualFunctions(let error): "\(error)"
        case .request(let text): text
        }
    }
}
