import Registers
import Simulation

/// The device's internal fabric: takes every access of harts, host and DMA to its target, in the time that this costs.
///
/// - **Addresses.** An address map for each side (``AddressSpace``) leads to the same targets; decoding is one table look-up.
/// - **Time.** An access pays its initiator's rate limit, the hop to the target, the cycles in which it occupies the target, the
///   target's latency and the hop back.
/// - **Arbitration.** See ``CrossbarState/occupy(_:by:from:)``: who waits is decided by weights, not by who came first.
/// - **Errors.** The first failed access is kept, the others are counted (``errorLog``).
public final class Crossbar {
    public struct Configuration: Hashable, Sendable {
        /// Cycles from an initiator to a target, and again back.
        public var hopLatency: Cycle
        public var cyclesPerMicrosecond: UInt32

        public init(hopLatency: Cycle, cyclesPerMicrosecond: UInt32) {
            self.hopLatency = hopLatency
            self.cyclesPerMicrosecond = cyclesPerMicrosecond
        }
    }

    /// Whose addresses an access uses.
    public enum AddressSpace: Int, Sendable, CaseIterable {
        /// The management core's.
        case firmware
        /// The host's: the physical function's BARs, at addresses of the composition's choice.
        case host
    }

    /// A target's number, in the order in which targets were attached.
    public typealias TargetIndex = Int

    /// A range of one address space that leads to a target.
    struct Route {
        var base: UInt64
        var size: UInt64
        /// Added to the offset in the range.
        var offset: UInt64
        var target: TargetIndex
    }

    struct TargetDescription {
        let name: String
        let target: any BusTarget
    }

    static let pageShift: UInt64 = 12
    static let pages = 1 << 20

    public let configuration: Configuration
    public var state: CrossbarState {
        get { storage.pointee }
        set { storage.pointee = newValue }
    }

    /// All that changes. In raw memory, because an access to a class's stored property in the hot path costs an exclusivity check.
    let storage: UnsafeMutablePointer<CrossbarState>
    /// For each address space and page the number of a route plus 1.
    private let pageTable: UnsafeMutablePointer<UInt8>
    private let routeTable: UnsafeMutablePointer<Route>
    private var routeCount = 0
    private let targetTable: UnsafeMutablePointer<Unmanaged<TargetBox>>
    private(set) var targets: [TargetDescription] = []
    private var buses: [Bus] = []

    /// Is told when the error log takes an error.
    public weak var errorListener: (any CrossbarErrorListener)?

    static let maximumTargets = 32
    static let maximumRoutes = 64

    public init(_ configuration: Configuration) {
        self.configuration = configuration
        storage = .allocate(capacity: 1)
        storage.initialize(to: CrossbarState(cyclesPerMicrosecond: configuration.cyclesPerMicrosecond))
        pageTable = .allocate(capacity: Self.pages * AddressSpace.allCases.count)
        pageTable.initialize(repeating: 0, count: Self.pages * AddressSpace.allCases.count)
        routeTable = .allocate(capacity: Self.maximumRoutes)
        targetTable = .allocate(capacity: Self.maximumTargets)
        buses = AddressSpace.allCases.map { Bus(self, $0) }
    }

    deinit {
        for index in targets.indices { targetTable[index].release() }
        targetTable.deallocate()
        routeTable.deallocate()
        pageTable.deallocate()
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    /// Holds a target's reference at a fixed place, so that an access can use it without counting references.
    final class TargetBox {
        let target: any BusTarget
        init(_ target: any BusTarget) { self.target = target }
    }

    /// Connects a target, which stays for the crossbar's life.
    /// - Parameters:
    ///   - latency: cycles that an access spends in the target.
    ///   - occupancy: of these, the cycles in which no other access can begin; at least 1.
    public func attach(_ target: any BusTarget, name: String, latency: Cycle, occupancy: Cycle = 1) -> TargetIndex {
        precondition(targets.count < Self.maximumTargets, "more than \(Self.maximumTargets) targets on a crossbar")
        targetTable.advanced(by: targets.count).initialize(to: .passRetained(TargetBox(target)))
        targets.append(TargetDescription(name: name, target: target))
        storage.pointee.targets[targets.count - 1].occupancy = max(occupancy, 1)
        storage.pointee.targets[targets.count - 1].latency = latency
        return targets.count - 1
    }

    /// Makes `size` bytes at `base` lead to a target, from `offset` in it. Base and size are multiples of 4096 below 4 GiB; no
    /// two ranges of one space share a page.
    public func map(_ target: TargetIndex, in space: AddressSpace, at base: UInt64, size: UInt64, offset: UInt64 = 0) {
        let pageMask = (1 as UInt64) << Self.pageShift - 1
        precondition(base & pageMask == 0 && size & pageMask == 0 && size > 0, "range not made of pages")
        precondition(base + size <= UInt64(Self.pages) << Self.pageShift, "range beyond the address space")
        precondition(routeCount < Self.maximumRoutes, "more than \(Self.maximumRoutes) ranges on a crossbar")
        routeTable.advanced(by: routeCount).initialize(to: Route(base: base, size: size, offset: offset, target: target))
        routeCount += 1
        let table = pageTable + space.rawValue * Self.pages
        for page in Int(base >> Self.pageShift)..<Int((base + size) >> Self.pageShift) {
            precondition(table[page] == 0, "two targets at one address")
            table[page] = UInt8(routeCount)
        }
        if space == .firmware, storage.pointee.targets[target].base == 0 { storage.pointee.targets[target].base = base }
    }

    /// One side of the crossbar as a target of accesses.
    public func bus(_ space: AddressSpace) -> any BusTarget { buses[space.rawValue] }

    // MARK: The way of an access

    /// Takes an access to its target and back. On return `address` is unspecified, `time` the cycle at which the initiator has the answer.
    public func access(_ access: inout BusAccess, in space: AddressSpace) -> BusStatus {
        let state = storage
        let address = access.address
        let issued = access.time
        let lane = Lane(access.initiator)
        let page = address &>> Self.pageShift
        let route = page < UInt64(Self.pages)
            ? pageTable[space.rawValue &* Self.pages &+ Int(truncatingIfNeeded: page)] : 0
        var status = BusStatus.unmapped
        if route != 0 {
            let range = routeTable + (Int(route) &- 1)
            let offset = address &- range.pointee.base
            let index = range.pointee.target
            if offset &+ UInt64(access.size) <= range.pointee.size {
                access.address = offset &+ range.pointee.offset
                if lane.isCounted {
                    let entry = state.pointee.admit(UInt64(access.size), from: lane, at: issued) &+ configuration.hopLatency
                    access.time = state.pointee.occupy(index, by: lane, from: entry) &+ state.pointee.targets[index].latency
                }
                status = targetTable[index]._withUnsafeGuaranteedRef { $0.target.access(&access) }
            }
        }
        if lane.isCounted {
            access.time &+= configuration.hopLatency
            state.pointee.lanes[lane.index].accesses &+= 1
            if status != .ok { failed(status, access, address: address, issued: issued, lane) }
        }
        return status
    }

    /// What a read would return, without side effects and without taking time.
    public func peek(_ address: UInt64, size: Int, in space: AddressSpace) -> UInt64? {
        let page = address >> Self.pageShift
        guard page < UInt64(Self.pages), (1...8).contains(size) else { return nil }
        let route = pageTable[space.rawValue * Self.pages + Int(page)]
        guard route != 0 else { return nil }
        let range = routeTable[Int(route) - 1]
        let offset = address - range.base
        guard offset + UInt64(size) <= range.size else { return nil }
        return targets[range.target].target.peek(offset + range.offset, size: size)
    }

    @inline(never)
    private func failed(_ status: BusStatus, _ access: BusAccess, address: UInt64, issued: Cycle, _ lane: Lane) {
        storage.pointee.lanes[lane.index].errors &+= 1
        let isFirst = storage.pointee.errorLog.record(.init(
            address: address, time: issued, origin: UInt64(access.origin), initiator: access.initiator, isWrite: access.isWrite,
            size: access.size, status: status))
        if isFirst { errorListener?.crossbarErrorLogged() }
    }

    private final class Bus: BusTarget {
        private unowned let crossbar: Crossbar
        private let space: AddressSpace

        init(_ crossbar: Crossbar, _ space: AddressSpace) {
            self.crossbar = crossbar
            self.space = space
        }

        func access(_ access: inout BusAccess) -> BusStatus { crossbar.access(&access, in: space) }
        func peek(_ address: UInt64, size: Int) -> UInt64? { crossbar.peek(address, size: size, in: space) }
    }
}

/// Is told when a crossbar's empty error log has taken an error.
public protocol CrossbarErrorListener: AnyObject {
    func crossbarErrorLogged()
}
