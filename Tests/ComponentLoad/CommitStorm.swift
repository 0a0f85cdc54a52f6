import AdminProtocol
import OffloadDevice
import RegisterMaps
import Simulation

/// Partitions that change all the time, by the firmware and the Resource Manager, while three loaded disks are served.
///
/// The disks' drivers find every request that is lost, answered twice or answered with something else (``DiskLoad``).
public struct CommitStorm {
    private static let owners = 1...3

    private let rig: MoveRig
    private let others: [DiskLoad]
    private var random: SplitMix64
    private var generation: UInt64 = 0
    /// Device cycles of each commit: from the host's doorbell until the partition is in force.
    public private(set) var latencies: [UInt64] = []
    /// Allocations that the firmware has refused, because there isn't enough.
    public private(set) var refused = 0
    public var acknowledged: Int { others.reduce(rig.load.acknowledged) { $0 + $1.acknowledged } }

    public init(firmware: [UInt8], seed: UInt64) throws {
        rig = try MoveRig(firmware: firmware, seed: seed)
        let machine = rig.machine
        others = try (2...3).map { try DiskLoad(machine, function: $0, offset: $0 << 20, depth: 16, seed: seed &+ UInt64($0)) }
        random = SplitMix64(seed: ~seed)
        var parameters = PolicyParameters()
        parameters.policy = PolicyNumber.fixed
        try rig.require(AdminCommand(.setPolicy), parameters)
        generation = state.generation
    }

    private mutating func number(_ bound: UInt64) -> UInt64 { random.next() % bound }

    /// Commits until so many have taken effect.
    public mutating func run(_ commits: Int) throws {
        let end = latencies.count + commits
        while latencies.count < end {
            try change(owner: 1 + Int(number(3)))
            let cycles = 1_000 + number(8_000)
            for _ in 0..<Int(1 + number(3)) { try turn(submits: true, cycles: cycles) }
        }
        for _ in 0..<20_000 where rig.load.inFlight + others.reduce(0, { $0 + $1.inFlight }) > 0 { try turn(submits: false, cycles: 2_000) }
        try rig.verify()
        for load in others { try load.verifyAll { rig.machine.advance(by: 2_000) } }
    }

    private func turn(submits: Bool, cycles: UInt64) throws {
        for load in others { try load.pump(submits: submits) }
        try rig.turn(submits: submits, cycles: cycles)
    }

    /// An allocation at random; three of these are often more than there is.
    private mutating func change(owner: Int) throws {
        var allocation = Allocation()
        allocation.guaranteePermille = UInt16(number(500))
        allocation.weight = UInt16(1 + number(100))
        // Never below the guarantee, which hardware would refuse.
        allocation.limit = number(2) == 0 ? 0 : UInt32(500 + number(500))
        allocation.serviceCores = UInt8(number(4))
        allocation.firstMemoryBlock = UInt16(32 + 8 * owner)
        allocation.memoryBlocks = UInt16(number(9))
        allocation.flags = Allocation.pinned
        let rung = rig.machine.now
        let status = rig.command(AdminCommand(.setAllocation, group: .virtualFunction, member: UInt64(owner)), allocation)
        let now = state
        guard now.guarantees <= 1000, now.cores <= rig.cores else {
            throw DiskLoad.Fault(description: "guarantees of \(now.guarantees) of 1000 and \(now.cores) of \(rig.cores) cores are in force")
        }
        if status == .ok {
            guard now.generation == generation + 1, now.committed >= rung else {
                throw DiskLoad.Fault(description: "generation \(generation + 1) expected, \(now.generation) found")
            }
            latencies.append(now.committed - rung)
        } else {
            guard now.generation == generation else { throw DiskLoad.Fault(description: "an allocation that was refused is in force") }
            refused += 1
        }
        generation = now.generation
    }

    /// What the Resource Manager's registers say is in force.
    private var state: (generation: UInt64, committed: UInt64, guarantees: UInt64, cores: UInt64) {
        rig.machine.inspect { device in
            let registers = device.resourceManager.registers
            var guarantees: UInt64 = 0, cores: UInt64 = 0
            for owner in 0...64 {
                guarantees += registers[RM.ACTIVE_BANDWIDTH, owner] & 0xffff
                cores += registers[RM.ACTIVE_SLOTS, owner] & 0xff
            }
            return (registers[RM.GENERATION], registers[RM.COMMITTED_AT], guarantees, cores)
        }
    }
}
