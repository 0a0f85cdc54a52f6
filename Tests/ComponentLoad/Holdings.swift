import AdminProtocol
import OffloadDevice
import RegisterMaps

/// What components hold of the device and of their agent while no request is in flight. A move that leaves something behind, or takes
/// something away, shows here.
public struct Holdings: Equatable, Sendable {
    /// Components that there are, requests of theirs in flight, doorbells that nobody has looked at, and the disk's virtqueues.
    public var components = 0, inFlight: UInt64 = 0, doorbells = 0, queues: UInt64 = 0
    /// What the Resource Manager has set aside: link, cores, slots of both types, and memory blocks.
    public var guarantee: UInt64 = 0, cores: UInt64 = 0, slots: UInt64 = 0, blocks: UInt64 = 0
    /// On their way over the link, and at the service cores; bytes in the device's buffers.
    public var transfers = 0, served = 0, buffered: UInt64 = 0
    /// Events that VIC has queued and the firmware has not read, and interrupt lines that are up.
    public var events: UInt64 = 0, lines = 0
    /// Components that the agent serves.
    public var hosted = 0
}

extension MoveRig {
    public var holdings: Holdings {
        var holdings = Holdings()
        holdings.hosted = agent?.components.count ?? 0
        // The driver has selected its only queue.
        holdings.queues = machine.readBAR(function: Self.function, bar: 0, offset: 0x1c, size: 2, origin: 0).value
        machine.inspect { device in
            func vic(_ offset: UInt64) -> UInt64 { device.peek(.firmware, 0x1006_0000 + offset, size: 4) ?? .max }
            for entry in 0..<65 as Range<UInt64> {
                let component = 0x1000 + 0x40 * entry
                guard vic(component + 4) >> 8 & 1 == 1 else { continue }
                holdings.components += 1
                holdings.inFlight += vic(component + 0xc)
                holdings.doorbells += vic(component + 0x14).nonzeroBitCount
                holdings.buffered += device.buffers.used(by: .virtualMachine(Int(entry)))
            }
            holdings.events = vic(0x14)
            let manager = device.resourceManager.registers
            for owner in 0..<65 {
                holdings.guarantee += manager[RM.ACTIVE_BANDWIDTH, owner] & 0xffff
                holdings.cores += manager[RM.ACTIVE_SLOTS, owner] & 0xff
                holdings.slots += (manager[RM.ACTIVE_SLOTS, owner] >> 8 & 0xff) + (manager[RM.ACTIVE_SLOTS, owner] >> 16 & 0xff)
            }
            for region in 0..<128 { holdings.blocks += manager[RM.ACTIVE_REGION, region] >> 20 }
            holdings.transfers = device.toHost.transfersInFlight + device.fromHost.transfersInFlight
            holdings.served = device.cores.requestsInFlight
            holdings.lines = device.plic.interrupts.count { $0.level }
        }
        return holdings
    }

    /// Moves the component so many times, in turn to the host and back, with a grant of its own; the load goes on.
    ///
    /// A quiet component must hold the same at each place, however often it has moved.
    /// - Returns: what it holds on the device, and on the host.
    public func moveForever(_ moves: Int) throws -> (device: Holdings, host: Holdings) {
        var allocation = Allocation()
        (allocation.guaranteePermille, allocation.serviceCores, allocation.flags) = (100, 2, Allocation.pinned)
        (allocation.firstMemoryBlock, allocation.memoryBlocks) = (40, 4)
        try require(AdminCommand(.setAllocation, group: .virtualFunction, member: UInt64(Self.function)), allocation)
        var first: [ComponentPlace: Holdings] = [:]
        for number in 1...moves {
            let place: ComponentPlace = number % 2 == 1 ? .host : .device
            try move(to: place)
            for _ in 0..<3 { try turn() }
            guard number <= 2 || number % 100 <= 1 || number > moves - 2 else { continue }
            try wait(submits: false, "the end of \(load.inFlight) requests") { load.inFlight == 0 }
            // What the agent has moved over the link takes its time there, too.
            for _ in 0..<100 { try turn(submits: false) }
            let now = holdings
            guard now == first[place, default: now] else {
                throw Fault(description: "after \(number) moves: \(first[place]!) expected, \(now) found")
            }
            first[place] = now
        }
        try verify()
        return (first[.device]!, first[.host]!)
    }
}
