import Interconnect
import Peripherals
import Simulation

/// Tells those who count what DMA writes. Not a list: each transfer passes here.
final class DMAFanOut: DMAObserver {
    private let analyzer: WorkloadAnalyzer
    private let log: LoggingEngine

    init(_ analyzer: WorkloadAnalyzer, _ log: LoggingEngine) {
        self.analyzer = analyzer
        self.log = log
    }

    func memoryWritten(owner: Owner, address: UInt64, bytes: Int, at cycle: Cycle) {
        analyzer.memoryWritten(owner: owner, address: address, bytes: bytes, at: cycle)
        log.memoryWritten(owner: owner, address: address, bytes: bytes, at: cycle)
    }
}

/// Passes what the memory controller reports to SYSCTL, and takes the harts off the direct way while errors are planted.
final class MemoryErrorRelay: MemoryErrorSink {
    private let next: any MemoryErrorSink
    private let setDirectAccess: (Bool) -> Void

    init(_ next: any MemoryErrorSink, setDirectAccess: @escaping (Bool) -> Void) {
        self.next = next
        self.setDirectAccess = setDirectAccess
    }

    func memoryErrorMet(_ error: MemoryError) { next.memoryErrorMet(error) }

    func plantedErrorsChanged(to count: Int) {
        setDirectAccess(count == 0)
        next.plantedErrorsChanged(to: count)
    }
}

/// Answers the Workload Analyzer's question of what is used.
final class Utilisation: UtilisationSource {
    private let cores: ServicePool
    /// To the device, and to the host.
    private let links: [Link]
    private let crossbar: Crossbar

    init(cores: ServicePool, toDevice: Link, toHost: Link, crossbar: Crossbar) {
        self.cores = cores
        links = [toDevice, toHost]
        self.crossbar = crossbar
    }

    func usage(of resource: Int) -> ResourceUsage {
        switch resource {
        case 0: ResourceUsage(units: UInt32(cores.configuration.cores), busy: cores.busyCycles)
        case 1, 2: ResourceUsage(units: 1, busy: links[resource - 1].busyCycles)
        default: ResourceUsage(units: UInt32(crossbar.targetCount), busy: crossbar.busyCycles)
        }
    }

    func used(_ resource: Int, by owner: Owner) -> UInt64 {
        resource == 0 ? cores.busyCycles(of: owner) : links[resource - 1].bytes(of: owner)
    }
}

/// Answers the Resource Manager's question of who uses the accelerators.
final class SlotUse: SlotUseSource {
    private let gpu: ServicePool?
    private let fpga: ServicePool?

    init(gpu: ServicePool?, fpga: ServicePool?) { self.gpu = gpu; self.fpga = fpga }

    func requestCycles(at type: AcceleratorType, of owner: Owner) -> UInt64 { (type == .gpu ? gpu : fpga)?.requestCycles(of: owner) ?? 0 }
}
