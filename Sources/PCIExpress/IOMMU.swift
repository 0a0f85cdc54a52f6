import Interconnect
import Simulation

/// The translation unit in front of host memory: one ``DMADomain`` per function, and the record of what was refused.
public final class IOMMU {
    public struct State: Sendable {
        /// The latest faults, oldest first, at most `IOMMU.recordLimit`.
        public internal(set) var faults: [DMAFault] = []
        /// All faults since power-on.
        public internal(set) var faultCount: UInt64 = 0
    }
    /// Faults that the record keeps.
    public static let recordLimit = 64

    public internal(set) var state = State()
    /// There while what is read from memory of others is an input: of a recording, or of a replay.
    public var externalMemory: ExternalMemory? {
        didSet { for domain in domains { domain._withUnsafeGuaranteedRef { $0.openCache() } } }
    }
    /// Hears of every byte range that a function wrote. Its owner has the IOMMU, too; each transfer passes here, so that it isn't counted.
    @exclusivity(unchecked) public unowned(unsafe) var observer: (any DMAObserver)?
    /// Hears of every fault.
    weak var violations: (any IsolationObserver)?
    let scheduler: Scheduler
    /// All that there are; each is in here for as long as it lives.
    var domains: [Unmanaged<DMADomain>] = []

    /// Where writes are interrupt messages and no memory (Intel 64 and IA-32 Architectures SDM 3, 11.11.1).
    static let messageAddresses: Range<UInt64> = 0xfee0_0000..<0xfef0_0000

    init(scheduler: Scheduler) {
        self.scheduler = scheduler
    }

    func record(_ fault: DMAFault, by owner: Owner) {
        let isMessage = fault.isWrite && Self.messageAddresses.contains(fault.address)
        violations?.refused(isMessage ? .interrupt : .dma, to: owner, holder: .device, address: fault.address, at: fault.cycle)
        if state.faults.count == Self.recordLimit { state.faults.removeFirst() }
        state.faults.append(fault)
        state.faultCount &+= 1
    }
}
