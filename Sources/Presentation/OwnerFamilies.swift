/// What an owner has of the device and has done with it: the families that the mounted tree's `metrics` and the host agent have in common,
/// by the same names and from the same counters.
public struct OwnerFigures: Sendable, Equatable {
    /// `host` or `vmN`.
    public var owner: String
    /// Completed since power-on.
    public var reads: UInt64 = 0, writes: UInt64 = 0, others: UInt64 = 0
    public var readBytes: UInt64 = 0, writtenBytes: UInt64 = 0
    /// Of the link, in 1/1000.
    public var guaranteePermille: UInt64 = 0
    public var weight: UInt64 = 0
    /// Bytes per microsecond; 0: none.
    public var limit: UInt64 = 0
    public var serviceCores: UInt64 = 0
    public var gpuSlots: UInt64 = 0, fpgaSlots: UInt64 = 0
    public var memoryBytes: UInt64 = 0

    public init(owner number: Int) { owner = OwnerFigures.name(number) }

    /// 0 is the host, n virtual machine n.
    public static func name(_ owner: some BinaryInteger) -> String { owner == 0 ? "host" : "vm\(owner)" }
}

extension Exposition {
    public mutating func add(_ owners: [OwnerFigures]) {
        func each(_ samples: (OwnerFigures) -> [Sample]) -> [Sample] { owners.flatMap(samples) }
        add(.counter, "requests", "Requests completed.", each { [
            Sample(["owner": $0.owner, "operation": "read"], $0.reads), Sample(["owner": $0.owner, "operation": "write"], $0.writes),
            Sample(["owner": $0.owner, "operation": "other"], $0.others),
        ] })
        add(.counter, "request_bytes", "Bytes of the requests completed.", each { [
            Sample(["owner": $0.owner, "operation": "read"], $0.readBytes),
            Sample(["owner": $0.owner, "operation": "write"], $0.writtenBytes),
        ] })
        add(.gauge, "link_guarantee_ratio", "Part of the link that is guaranteed.", each {
            [Sample(["owner": $0.owner], ratio: Double($0.guaranteePermille) / 1000)]
        })
        add(.gauge, "link_weight", "Weight among owners that want more than their guarantee.", each {
            [Sample(["owner": $0.owner], $0.weight)]
        })
        add(.gauge, "link_limit_bytes_per_second", "Most of the link's bandwidth; 0: no limit.", each {
            [Sample(["owner": $0.owner], $0.limit &* 1_000_000)]
        })
        add(.gauge, "service_cores", "Service cores set aside.", each { [Sample(["owner": $0.owner], $0.serviceCores)] })
        add(.gauge, "accelerator_slots", "Accelerator slots.", each { [
            Sample(["owner": $0.owner, "kind": "gpu"], $0.gpuSlots), Sample(["owner": $0.owner, "kind": "fpga"], $0.fpgaSlots),
        ] })
        add(.gauge, "memory_granted_bytes", "Shared memory granted.", each { [Sample(["owner": $0.owner], $0.memoryBytes)] })
    }
}
