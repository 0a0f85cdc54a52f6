import PCIExpress
import Registers
import Simulation

/// Everything that comes from outside and changes the device, beside what its DMA reads (``ExternalMemory``): docs/architecture.md,
/// "What comes from outside".
///
/// Functions are named by their PCI function index: 0 the physical function, n virtual function n, 64 + k further physical function k.
public enum HostInput: Hashable, Sendable {
    /// One access of a host program to a BAR.
    case access(HostAccess)
    /// Configuration space, all at one moment. A read of virtio's window data performs an access.
    case readConfiguration(function: Int, offset: Int, count: Int)
    case writeConfiguration(function: Int, offset: Int, bytes: [UInt8])
    /// Writing 1 to the function's `reset` file.
    case resetFunction(Int)
    /// Writing the function's `enable` file, and what binding or unbinding a driver does.
    case enableFunction(Int, Bool)
    /// The process that drives a function has left, or what it had mapped has changed: its memory is found anew when DMA meets it.
    case dropClientMemory(function: Int)
    /// The card is pulled out of its slot, or put in.
    case setCard(isPresent: Bool)
    /// What the host's PCI core does with a physical function that a scan has found.
    case configureFunction(Int)
    /// Writing the physical function's `sriov_numvfs`.
    case setVirtualFunctions(Int)
    /// What the host's generic interrupt handler does about the INTx lines that have risen.
    case maskInterruptLines
    case typeAtConsole([UInt8])
    /// The console that is a function.
    case typeAtVirtioConsole(function: Int, [UInt8])
    /// A frame comes to a network function from outside.
    case receiveFrame(function: Int, [UInt8])
    /// A network function's wire is plugged in or pulled out.
    case setLink(function: Int, isUp: Bool)
    /// A vhost-user front-end uses a virtio function.
    case frontEnd(function: Int, FrontEndInput)
    /// What the host agent does to the medium of a disk that it serves.
    case medium(function: Int, MediumOperation)
    /// An ELF file's bytes are loaded and started.
    case loadFirmware([UInt8])
    case restartFirmware
    /// A planted error at a bus address in SRAM.
    case memoryError(address: UInt64, isCorrectable: Bool)
    case uncorrectableError(UncorrectableError, function: Int)
    case correctableError(CorrectableError, function: Int)
    case interrupt(vector: Int, function: Int)
    /// Somebody looks at the device at this cycle, in lockstep or after an advance: a round that begins before ends there at the latest.
    case appointment(at: Cycle)
    /// A debugger keeps the harts with a 1 in this mask, and no others, from executing.
    case keepHarts(UInt64)
    /// A debugger's write on the firmware's bus, with all side effects. It takes no device time.
    case debuggerWrite(address: UInt64, size: Int, value: UInt64)
    /// A debugger's write to a hart's register.
    case setRegister(HartRegister, hart: Int, value: UInt32)
}

/// One access of a host program to a BAR.
public struct HostAccess: Hashable, Sendable {
    public var function: Int
    public var bar: Int
    public var offset: UInt64
    /// Bytes: 1, 2, 4 or 8.
    public var size: Int
    /// What is written; nil reads.
    public var value: UInt64?
    /// Process id of the host program.
    public var origin: UInt32

    public init(function: Int, bar: Int, offset: UInt64, size: Int, value: UInt64? = nil, origin: UInt32) {
        self.function = function
        self.bar = bar
        self.offset = offset
        self.size = size
        self.value = value
        self.origin = origin
    }
}

/// An operation on a disk's medium; positions and lengths are whole sectors of 512 bytes.
public enum MediumOperation: Hashable, Sendable {
    case read(position: UInt64, count: Int)
    case write(position: UInt64, [UInt8])
    /// What was written outlives a loss of power.
    case flush
}

/// A register of a hart.
public enum HartRegister: Hashable, Sendable {
    /// `x0`...`x31`.
    case integer(Int)
    case pc
    /// A control and status register, by its number.
    case csr(UInt16)
    /// 0 user, 1 supervisor, 3 machine.
    case privilege
}

/// What came of an input.
public enum HostOutcome: Sendable {
    case done
    /// What was read, all ones if the status isn't `ok`, or written; and the cycle at which the host has its answer.
    case access(value: UInt64, status: BusStatus, time: UInt64)
    case read([UInt8])
    /// How many bytes were taken.
    case taken(Int)
    /// Nothing has changed.
    case refused(MachineError)

    /// - Throws: why the input was refused, if it was.
    @discardableResult
    func accepted() throws(MachineError) -> HostOutcome {
        if case .refused(let error) = self { throw error }
        return self
    }
}
