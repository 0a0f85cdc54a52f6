import AdminProtocol
import ArgumentParser
import HostAgent

struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Change an owner's allocation or terms, the sampling window or how the firmware forecasts.",
        subcommands: [SetAllocation.self, SetRelease.self, SetTerms.self, SetWindow.self, SetAnalysis.self])
}

struct SetAllocation: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allocation", abstract: "Set what one virtual machine has of the device; what isn't given stays. Prints it all.")

    @OptionGroup var device: DeviceOption
    @OptionGroup var owner: OwnerOption

    @Option(help: "Guaranteed bandwidth, in 1/1000 of the link.")
    var guarantee: UInt16?
    @Option(help: "Weight among owners that want more than their guarantee.")
    var weight: UInt16?
    @Option(help: "Most bandwidth in MB/s; 0: no limit.")
    var limit: UInt32?
    @Option(help: "Service cores set aside for it.")
    var cores: UInt8?
    @Option(help: "GPU-like accelerator slots.")
    var gpu: UInt8?
    @Option(help: "FPGA-like accelerator slots.")
    var fpga: UInt8?
    @Flag(inversion: .prefixedNo, help: "Whether the policy leaves this owner alone.")
    var pinned: Bool?

    func run() throws {
        let client = try device.client()
        var allocation = try client.allocation(of: owner.number)
        if let guarantee { allocation.guaranteePermille = guarantee }
        if let weight { allocation.weight = weight }
        if let limit { allocation.limit = limit }
        if let cores { allocation.serviceCores = cores }
        if let gpu { allocation.gpuSlots = gpu }
        if let fpga { allocation.fpgaSlots = fpga }
        if let pinned { allocation.flags = pinned ? allocation.flags | Allocation.pinned : allocation.flags & ~Allocation.pinned }
        try client.setAllocation(allocation, of: owner.number)
        allocation = try client.allocation(of: owner.number)
        print("""
            \(owner.name): guarantee \(allocation.guaranteePermille)/1000, weight \(allocation.weight), \
            limit \(allocation.limit == 0 ? "none" : "\(allocation.limit) MB/s"), service cores \(allocation.serviceCores), \
            memory blocks \(allocation.memoryBlocks), slots \(allocation.gpuSlots) GPU and \(allocation.fpgaSlots) FPGA\
            \(allocation.flags & Allocation.pinned != 0 ? ", pinned" : ""); partition table \(allocation.generation)
            """)
    }
}

struct SetRelease: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "release", abstract: "Give back what a virtual machine has of the device.")

    @OptionGroup var device: DeviceOption
    @OptionGroup var owner: VirtualMachineOption

    func run() throws { try device.client().releaseAllocation(of: owner.number) }
}

struct SetTerms: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "terms", abstract: "Say what you want for an owner; what isn't given stays. Prints it all.",
        discussion: """
            Policies see the latency. What is expected is granted ahead of need, as long as there is enough. The least is kept at any \
            time: the Resource Manager refuses every partition table without it. A restart of the firmware keeps the least alone.
            """)

    @OptionGroup var device: DeviceOption
    @OptionGroup var owner: OwnerOption

    @Option(help: "Microseconds that 99 of 100 requests may take; 0: as long as they need.")
    var latency: UInt32?
    @Option(help: "Service cores that it will need.")
    var cores: UInt8?
    @Option(help: "Memory blocks that it will need.")
    var memory: UInt16?
    @Option(help: "GPU-like accelerator slots that it will need.")
    var gpu: UInt8?
    @Option(help: "FPGA-like accelerator slots that it will need.")
    var fpga: UInt8?
    @Option(help: "Least bandwidth, in 1/1000 of the link.")
    var leastGuarantee: UInt16?
    @Option(help: "Fewest service cores.")
    var leastCores: UInt8?
    @Option(help: "Fewest memory blocks.")
    var leastMemory: UInt16?

    func run() throws {
        let client = try device.client()
        var terms = try client.terms(of: owner.number)
        if let latency { terms.latencyMicroseconds = latency }
        if let cores { terms.expectedCores = cores }
        if let memory { terms.expectedMemoryBlocks = memory }
        if let gpu { terms.expectedGPUSlots = gpu }
        if let fpga { terms.expectedFPGASlots = fpga }
        if let leastGuarantee { terms.leastPermille = leastGuarantee }
        if let leastCores { terms.leastCores = leastCores }
        if let leastMemory { terms.leastMemoryBlocks = leastMemory }
        try client.setTerms(terms, of: owner.number)
        terms = try client.terms(of: owner.number)
        print("""
            \(owner.name): latency \(terms.latencyMicroseconds == 0 ? "any" : "\(terms.latencyMicroseconds) us"); expected: service cores \
            \(terms.expectedCores), memory blocks \(terms.expectedMemoryBlocks), slots \(terms.expectedGPUSlots) GPU and \
            \(terms.expectedFPGASlots) FPGA; least: guarantee \(terms.leastPermille)/1000, service cores \(terms.leastCores), \
            memory blocks \(terms.leastMemoryBlocks)
            """)
    }
}

struct SetAnalysis: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "analysis", abstract: "Set how the firmware analyses and forecasts; what isn't given stays.")

    @OptionGroup var device: DeviceOption

    @Option(help: "Sampling windows in an interval, 100...100,000.")
    var windows: UInt64?
    @Option(
        help: """
            Who has a say in forecasts: 'all', 'none', or a list of last, fast-average, slow-average, short-median, long-median, \
            auto-regression, analogues.
            """)
    var predictors: String?

    private static let names = [
        "last", "fast-average", "slow-average", "short-median", "long-median", "auto-regression", "analogues",
    ]

    private func bits() throws -> UInt64? {
        switch predictors {
        case nil: return nil
        case "all": return 1 << UInt64(Self.names.count) - 1
        case "none": return 0
        case let list?:
            return try list.split(separator: ",").reduce(0) { bits, name in
                guard let place = Self.names.firstIndex(of: String(name)) else {
                    throw ValidationError("--predictors: all, none or \(Self.names.joined(separator: ", ")) expected, '\(name)' found")
                }
                return bits | 1 << UInt64(place)
            }
        }
    }

    func validate() throws { _ = try bits() }

    func run() throws {
        let client = try device.client()
        if let windows { try client.setFeature(Feature.analysisInterval.rawValue, to: windows) }
        if let bits = try bits() { try client.setFeature(Feature.predictors.rawValue, to: bits) }
    }
}

struct SetWindow: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "window", abstract: "Set the Workload Analyzer's sampling window.")

    @OptionGroup var device: DeviceOption

    @Argument(help: "Device cycles.")
    var cycles: UInt64

    func run() throws { try device.client().setFeature(Feature.samplingWindow.rawValue, to: cycles) }
}
