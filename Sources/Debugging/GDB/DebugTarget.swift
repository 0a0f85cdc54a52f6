import OffloadDevice

/// What the protocol's commands act on: some harts that share a memory. Harts are numbered from 0.
public protocol DebugTarget: AnyObject {
    var hartCount: Int { get }
    /// What a hart is doing, in a few words.
    func activity(ofHart hart: Int) -> String

    /// Why the harts are held; nil while they run.
    var stop: DebugStop? { get }
    func hold()
    /// - Parameter actions: one for each hart.
    func resume(_ actions: [HartAction])

    /// Holds the harts. `onStop` is called for every stop from now on, by any thread; it must not call the target.
    func attach(onStop: @escaping @Sendable () -> Void)
    /// Takes all breakpoints away and lets the harts go on.
    func detach()

    /// Whether it has a history, to go back in.
    var hasHistory: Bool { get }
    /// The end of the history at which the harts were stopped, if one was why.
    var edge: HistoryEdge? { get }
    /// Carries out a command of the stepper, and shows the screen for a terminal; nil without a history.
    var stepping: (any StepperFront)? { get }
    /// Goes back, to the instruction before of a hart, or to what is stopped at; a stop tells where that led.
    func goBack(_ way: BackwardWay)

    /// nil: no such register.
    func readRegister(_ register: HartRegister, hart: Int) -> UInt32?
    /// - Returns: false if there is no such register or it can't be written.
    func writeRegister(_ register: HartRegister, hart: Int, _ value: UInt32) -> Bool

    /// Reads without side effects, up to the first byte that can't be read.
    func readMemory(_ address: UInt32, count: Int) -> [UInt8]
    /// - Returns: nil if all has been written, otherwise why not.
    func writeMemory(_ address: UInt32, _ bytes: [UInt8]) -> String?
    /// In the order of their addresses, without overlaps.
    var memoryMap: [TargetMemory] { get }

    func insertBreakpoint(_ address: UInt32)
    func removeBreakpoint(_ address: UInt32)
    func insertWatchpoint(_ watchpoint: Watchpoint)
    func removeWatchpoint(_ watchpoint: Watchpoint)

    /// Is asked now and then by what takes long; false ends that.
    var mayGoOn: () -> Bool { get set }
    /// Nobody waits at present: does what will have to be done to go back.
    func prepare()

    /// Carries out a `monitor` command; what it prints.
    func monitor(_ command: String) -> String
}

/// Where a history has no more.
public enum HistoryEdge: String, Sendable { case begin, end }

/// How to go back.
public enum BackwardWay: Hashable, Sendable {
    /// By one instruction of a hart.
    case step(hart: Int)
    /// To a breakpoint or a watchpoint.
    case run
}

extension DebugTarget {
    public var hasHistory: Bool { false }
    public var edge: HistoryEdge? { nil }
    public var stepping: (any StepperFront)? { nil }
    public func goBack(_ way: BackwardWay) {}
    public var mayGoOn: () -> Bool { get { { true } } set {} }
    public func prepare() {}
}

/// A range of the memory map.
public struct TargetMemory: Hashable, Sendable {
    public var address: UInt64
    public var count: UInt64
    /// The debugger must not try to write there.
    public var isReadOnly: Bool

    public init(address: UInt64, count: UInt64, isReadOnly: Bool) {
        self.address = address
        self.count = count
        self.isReadOnly = isReadOnly
    }
}
