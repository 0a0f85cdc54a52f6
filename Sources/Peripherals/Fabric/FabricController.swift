import Interconnect
import Registers
import RegisterMaps
import Simulation

/// Weights, limits, counters and the error log of the crossbar, and the load of the links, as registers.
public final class FabricController: BusTarget, RegisterModel, CrossbarErrorListener, PartitionSink, ArchivedModel {
    /// Everything that changes is in the registers, the crossbar and the links.
    public let registers: RegisterBlock
    public let interrupt = Wire("fabric.irq")
    /// Whoever makes both keeps it: these registers are a target of it.
    private unowned let crossbar: Crossbar
    /// Device to host, and host to device.
    private let links: [Link]
    private let scheduler: Scheduler

    /// - Parameter crossbar: of its targets the registers show the first 16.
    public init(_ crossbar: Crossbar, deviceToHost: Link, hostToDevice: Link, on scheduler: Scheduler, number: Int = 0) {
        registers = RegisterBlock(FABRIC.map, number: number)
        self.crossbar = crossbar
        links = [deviceToHost, hostToDevice]
        self.scheduler = scheduler
        crossbar.errorListener = self
    }

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        guard let (register, element) = FABRIC.map.register(at: address) else { return nil }
        refresh(register, element)
        return registers.peek(address, size: size)
    }

    /// A firmware reset: default weights, no limits, an empty error log. Counters and grants stay.
    public func reset() {
        let since = registers[FABRIC.COUNTING_SINCE]
        let grants = (0..<FABRIC.Keys.FLOW_GRANT.count).map { (registers[FABRIC.FLOW_GRANT, $0], registers[FABRIC.FLOW_LIMIT, $0]) }
        registers.reset(.hard)
        registers[FABRIC.COUNTING_SINCE] = since
        for (flow, grant) in grants.enumerated() {
            (registers[FABRIC.FLOW_GRANT, flow], registers[FABRIC.FLOW_LIMIT, flow]) = grant
        }
        for lane in 0..<Lane.count { configure(lane) }
        crossbar.clearErrorLog()
        interrupt.drive(registers.interrupt)
    }

    // MARK: Registers

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) { refresh(register, element) }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case FABRIC.INTR_TEST:
            registers[FABRIC.INTR_STATE] |= new
        case FABRIC.CTRL:
            if FABRIC.CTRL.clear_error.isSet(in: new) { crossbar.clearErrorLog() }
            if FABRIC.CTRL.clear_counters.isSet(in: new) { clearCounters(at: access.time) }
        case FABRIC.INITIATOR_WEIGHT, FABRIC.INITIATOR_RATE, FABRIC.INITIATOR_BURST:
            configure(element)
        default:
            break
        }
        interrupt.drive(registers.interrupt)
    }

    private func configure(_ lane: Int) {
        crossbar.setWeight(UInt8(truncatingIfNeeded: registers[FABRIC.INITIATOR_WEIGHT, lane]), lane: lane)
        crossbar.setLimit(
            bytesPerMicrosecond: UInt32(truncatingIfNeeded: registers[FABRIC.INITIATOR_RATE, lane]),
            burst: registers[FABRIC.INITIATOR_BURST, lane], lane: lane)
    }

    private func clearCounters(at cycle: Cycle) {
        registers[FABRIC.COUNTING_SINCE] = cycle
        crossbar.clearCounters()
        for link in links { link.clearCounters() }
    }

    /// Brings a register that shows the crossbar's or a link's state up to date.
    private func refresh(_ register: RegisterIndex, _ element: Int) {
        switch register {
        case FABRIC.ERROR_STATUS, FABRIC.ERROR_COUNT, FABRIC.ERROR_ADDRESS, FABRIC.ERROR_ORIGIN, FABRIC.ERROR_TIME:
            refreshErrors()
        case FABRIC.INITIATOR_ERRORS:
            registers[FABRIC.INITIATOR_ERRORS, element] = UInt64(crossbar.laneState(element).errors)
        case FABRIC.INITIATOR_ACCESSES:
            registers[FABRIC.INITIATOR_ACCESSES, element] = crossbar.laneState(element).accesses
        case FABRIC.INITIATOR_WAITED:
            registers[FABRIC.INITIATOR_WAITED, element] = crossbar.laneState(element).waited
        case FABRIC.TARGET_BASE, FABRIC.TARGET_LATENCY, FABRIC.TARGET_ACCESSES, FABRIC.TARGET_BUSY:
            refreshTarget(element)
        case FABRIC.LINK_BANDWIDTH, FABRIC.LINK_LATENCY, FABRIC.LINK_QUEUED, FABRIC.LINK_BYTES, FABRIC.LINK_BUSY:
            refreshLink(element)
        case FABRIC.FLOW_BYTES:
            let owner = element == 65 ? Owner.device : Owner(rawValue: UInt8(element))
            registers[FABRIC.FLOW_BYTES, element] = links[0].bytes(of: owner) &+ links[1].bytes(of: owner)
        default:
            break
        }
    }

    private func refreshAll() {
        refreshErrors()
        for lane in 0..<Lane.count {
            for register in [FABRIC.INITIATOR_ERRORS.index, FABRIC.INITIATOR_ACCESSES.index, FABRIC.INITIATOR_WAITED.index] {
                refresh(register, lane)
            }
        }
        for target in 0..<FABRIC.Keys.TARGET_BASE.count { refreshTarget(target) }
        for link in links.indices { refreshLink(link) }
        for flow in 0..<FABRIC.Keys.FLOW_BYTES.count { refresh(FABRIC.FLOW_BYTES.index, flow) }
    }

    private func refreshErrors() {
        let log = crossbar.errorLog
        registers[FABRIC.ERROR_COUNT] = UInt64(log.count)
        registers[FABRIC.ERROR_STATUS.valid] = log.first == nil ? 0 : 1
        registers[FABRIC.ERROR_STATUS.write] = log.first?.isWrite == true ? 1 : 0
        registers[FABRIC.ERROR_STATUS.kind] = UInt64(log.first?.status.rawValue ?? 0)
        registers[FABRIC.ERROR_STATUS.size] = UInt64(log.first?.size ?? 0)
        registers[FABRIC.ERROR_STATUS.initiator] = UInt64(log.first?.initiator.rawValue ?? 0)
        registers[FABRIC.ERROR_ADDRESS] = log.first?.address ?? 0
        registers[FABRIC.ERROR_ORIGIN] = log.first?.origin ?? 0
        registers[FABRIC.ERROR_TIME] = log.first?.time ?? 0
    }

    private func refreshTarget(_ target: Int) {
        guard target < crossbar.targetCount else { return }
        let state = crossbar.targetState(target)
        registers[FABRIC.TARGET_BASE, target] = state.base
        registers[FABRIC.TARGET_LATENCY, target] = state.latency &+ state.occupancy &+ 2 &* crossbar.configuration.hopLatency
        registers[FABRIC.TARGET_ACCESSES, target] = state.accesses
        registers[FABRIC.TARGET_BUSY, target] = state.busy
    }

    private func refreshLink(_ number: Int) {
        let link = links[number]
        registers[FABRIC.LINK_BANDWIDTH, number] = UInt64(link.configuration.rate.bytesPerMicrosecond)
        registers[FABRIC.LINK_LATENCY, number] = link.configuration.latency
        registers[FABRIC.LINK_QUEUED, number] = UInt64(link.transfersInFlight)
        registers[FABRIC.LINK_BYTES, number] = link.bytes
        registers[FABRIC.LINK_BUSY, number] = link.busyCycles
    }

    // MARK: Events

    public func crossbarErrorLogged() {
        registers.raise(FABRIC.INTR_STATE.error)
        interrupt.drive(registers.interrupt)
    }

    public func partitionsCommitted(_ table: [Partition], at cycle: Cycle) {
        for flow in 0..<FABRIC.Keys.FLOW_GRANT.count {
            let partition = flow < table.count ? table[flow] : Partition()
            registers[FABRIC.FLOW_GRANT.guarantee, flow] = UInt64(partition.guarantee)
            registers[FABRIC.FLOW_GRANT.boost, flow] = UInt64(partition.boost)
            registers[FABRIC.FLOW_GRANT.weight, flow] = UInt64(max(partition.weight, 1))
            registers[FABRIC.FLOW_LIMIT, flow] = UInt64(partition.limit)
        }
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        if !archive.isLoading { refreshAll() }
        try archive.section("fabric") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
