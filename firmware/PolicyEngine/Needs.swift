import AdminProtocol

/// What an owner wants of a resource that comes in whole units.
struct UnitDemand: BitwiseCopyable {
    /// Units that its requests keep busy or wait for: an average, in 1/256.
    var wanted: UInt32 = 0
    /// Whole units that it needed in the last decision, and in the one before.
    var units: UInt16 = 0
    var unitsBefore: UInt16 = 0
    /// Units that the host expects it to need, that the host has given it itself, and the least that it is to have.
    var expected: UInt16 = 0
    var assigned: UInt16 = 0
    var least: UInt16 = 0

    /// What the host wants it to have, if that can be had.
    var wish: UInt32 { UInt32(max(expected, assigned)) }

    /// Far more than there is of anything; its product with a forecast's factor is still one word.
    static let most: UInt32 = 0xf_ffff
    /// Less than this is no use at all, in 1/256.
    static let noise: UInt32 = 8
    /// A unit is given back when this much of it wouldn't be used any more, in 1/256.
    static let slack: UInt32 = 64
}

/// What is forecast of an owner.
public struct DemandForecast: BitwiseCopyable, Sendable, Equatable {
    /// Bytes in a window: what is expected, and the upper end of the interval. Nothing is forecast if both are 0.
    public var bytes: UInt32
    public var bytesHigh: UInt32
    /// How many times as many requests as of late, in 1/256: expected, and the upper end.
    public var load: UInt32
    public var loadHigh: UInt32

    /// No forecast expects more than 16 times as much.
    public static let greatestLoad: UInt32 = 4095

    public init(bytes: UInt32 = 0, bytesHigh: UInt32 = 0, load: UInt32 = 256, loadHigh: UInt32 = 256) {
        self.bytes = bytes; self.bytesHigh = bytesHigh
        self.load = min(load, Self.greatestLoad); self.loadHigh = min(loadHigh, Self.greatestLoad)
    }
}

/// The first stage of a decision: what every owner needs of every resource.
extension PolicyEngine {
    // MARK: What is known of owners

    /// The resource that a decision is about beside the link.
    public var turn: Resource { Resource(rawValue: turnNumber) ?? .cores }

    /// Takes in how many units of a resource an owner's requests kept busy or waited for, on average since its last turn.
    /// - Parameter wanted: in 1/256.
    public func observe(_ wanted: UInt32, of resource: Resource, by owner: Int) {
        let place = owner &* Resource.count &+ resource.rawValue
        let old = demands[place].wanted, new = min(wanted, UnitDemand.most)
        // Up fast, down slowly, as with the demand for the link.
        demands[place].wanted = new >= old ? old &+ (new &- old &+ 1) >> 1 : old &- (old &- new &+ 7) >> 3
    }

    /// Takes in what is forecast of an owner; the default forgets it.
    public mutating func setForecast(_ forecast: DemandForecast = DemandForecast(), of owner: Int) {
        states[owner].forecast = forecast
        if share(ofBytes: forecast.bytes) > UInt32(parameters.leastPermille) { expectant.insert(owner) } else { expectant.remove(owner) }
    }

    /// Takes in what the host expects an owner to need, and promises it at least.
    public mutating func setTerms(_ terms: ServiceTerms, of owner: Int) {
        let place = owner &* Resource.count
        for resource in Resource.all {
            demands[place &+ resource.rawValue].expected = terms.expected(resource.rawValue)
            demands[place &+ resource.rawValue].least = terms.least(resource.rawValue)
        }
        contexts[owner][.latencyTarget] = terms.latencyMicroseconds
        remember(owner)
    }

    /// Takes in what the host has given an owner itself: it keeps that as long as there is enough.
    public mutating func assign(_ units: UInt32, of resource: Resource, to owner: Int) {
        demands[owner &* Resource.count &+ resource.rawValue].assigned = UInt16(clamping: units)
        remember(owner)
    }

    private mutating func remember(_ owner: Int) {
        var isPromised = false
        for resource in Resource.all {
            let demand = demands[owner &* Resource.count &+ resource.rawValue]
            if demand.wish | UInt32(demand.least) != 0 { isPromised = true }
        }
        if isPromised { promised.insert(owner) } else { promised.remove(owner) }
    }

    /// What the host has said of an owner.
    public func terms(of owner: Int) -> ServiceTerms {
        var terms = ServiceTerms()
        let place = owner &* Resource.count
        terms.latencyMicroseconds = contexts[owner][.latencyTarget]
        for resource in Resource.all {
            let demand = demands[place &+ resource.rawValue]
            terms.set(resource.rawValue, expected: demand.expected, least: demand.least)
        }
        return terms
    }

    /// Whether terms can be kept beside what the others were promised.
    public func canPromise(_ terms: ServiceTerms, to owner: Int) -> Bool {
        for resource in Resource.all {
            var sum = UInt32(terms.least(resource.rawValue))
            for other in 0..<Self.owners where other != owner { sum &+= promise(to: other, of: resource) }
            if sum > total(of: resource) || UInt32(terms.expected(resource.rawValue)) > total(of: resource) { return false }
        }
        return true
    }

    /// The least that an owner is to have of a resource.
    public func promise(to owner: Int, of resource: Resource) -> UInt32 {
        UInt32(demands[owner &* Resource.count &+ resource.rawValue].least)
    }

    // MARK: Needs

    /// Owners that are active: those that were so lately, and those that are forecast to be.
    private var active: OwnerSet { (isForecasting ? members.union(expectant) : members).subtracting(pinned) }
    private var isForecasting: Bool { parameters.flags & PolicyParameters.ignoresForecasts == 0 }

    /// Owners that a decision is about: those that are active, those that have something to give back, those that were promised something.
    public var concerned: OwnerSet {
        var all = members.union(holders).union(promised)
        if isForecasting { all = all.union(expectant) }
        return all.subtracting(pinned)
    }

    /// What each owner needs of each resource, from its demand and its forecast: ``PolicyContext/Field/need``.
    ///
    /// A decision is about the link and one of the resources that come in units, in turn: so it costs as much however many there are.
    /// - Parameter everything: it is about all resources.
    public mutating func predictResourceNeeds(everything: Bool = false) {
        let concerned = concerned, active = active
        divided = Resource.bandwidth.bit
        var link = predictBandwidth(concerned, active)
        let units = unitsToDivide(everything: everything)
        divided |= units
        for resource in Resource.cores ... .fpga where units & resource.bit != 0 { predictUnits(resource, concerned) }
        link.decision = decisionsTaken &+ decisionsLeft
        link.owners = active.count
        var states = scarce
        for resource in 0..<Resource.count where resting[resource] != 0 { states |= 256 &<< UInt32(truncatingIfNeeded: resource) }
        let hysteresis = UInt32(parameters.hysteresisPermille)
        var rest = concerned
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            context[.decision] = link.decision
            context[.owners] = link.owners
            context[.scarce] = states
            context[.hysteresis] = hysteresis
            context[.capacity, .bandwidth] = link.available
            context[.totalNeed, .bandwidth] = link.need
        }
    }

    /// A bit for each resource that comes in units and that the next decision is about.
    func unitsToDivide(everything: Bool) -> UInt32 {
        var units: UInt32 = 0
        for resource in Resource.cores ... .fpga where total(of: resource) != 0 && (everything || turn == resource) {
            units |= resource.bit
        }
        return units
    }

    /// What all contexts say alike.
    private struct Common {
        var available: UInt32
        var need: UInt32 = 0
        var decision: UInt32 = 0
        var owners: UInt32 = 0
    }

    /// What pinned owners leave of a resource.
    private func available(_ resource: Resource) -> UInt32 {
        var available = total(of: resource)
        var rest = pinned
        while let owner = rest.popFirst() { available = available &- min(available, contexts[owner][.grant, resource]) }
        return available
    }

    private func share(ofBytes bytes: UInt32) -> UInt32 { bytes.multipliedFullWidth(by: shareOfByte).high }

    private func predictBandwidth(_ concerned: OwnerSet, _ active: OwnerSet) -> Common {
        let available = available(.bandwidth), isForecasting = isForecasting, mostOfAll = UInt32(parameters.mostPermille)
        var promises: UInt32 = 0
        var rest = promised.subtracting(pinned)
        while let owner = rest.popFirst() { promises &+= promise(to: owner, of: .bandwidth) }
        let least = min(UInt32(parameters.leastPermille), (available &- min(promises, available)) / max(active.count, 1))
        var common = Common(available: available)
        rest = concerned
        while let owner = rest.popFirst() {
            let context = contexts[owner], state = states[owner]
            let isActive = active.contains(owner), promise = promise(to: owner, of: .bandwidth)
            let demand = share(ofBytes: state.demand)
            var expected = demand, high = demand
            if isForecasting, state.forecast.bytesHigh != 0 {
                expected = share(ofBytes: state.forecast.bytes)
                high = max(share(ofBytes: state.forecast.bytesHigh), demand)
            }
            context[.isActive] = isActive ? 1 : 0
            context[.demand] = demand
            context[.forecast] = expected
            context[.forecastHigh] = high
            context[.expected, .bandwidth] = high
            let limit = UInt32(state.most), most = isActive ? max(min(mostOfAll, limit), min(promise, limit)) : promise
            context[.most] = most
            context[.least, .bandwidth] = isActive ? min(max(least, promise), limit) : promise
            let need = isActive ? min(max(demand, expected), most) : 0
            context[.need, .bandwidth] = max(need, context[.least, .bandwidth])
            common.need &+= context[.need, .bandwidth]
        }
        return common
    }

    /// A resource is scarce when all together would use more of it than there is to divide, until they would use less than three quarters.
    /// Units of one's own help nobody before that: what is shared serves whoever comes. Nor can it be divided among more owners than it
    /// has units; then it stays shared, and the hardware's queues are what is fair.
    private mutating func predictUnits(_ resource: Resource, _ concerned: OwnerSet) {
        let available = available(resource)
        var sum: UInt32 = 0, users: UInt32 = 0, promises: UInt32 = 0
        var rest = concerned
        while let owner = rest.popFirst() {
            let context = contexts[owner], place = owner &* Resource.count &+ resource.rawValue
            let demand = demands[place], (use, high) = use(demand, of: owner)
            var units = (use &+ 255) >> 8
            // What is just not used any more isn't given back yet.
            if use != 0, units < demand.units { units = min(UInt32(demand.units), (use &+ UnitDemand.slack &+ 255) >> 8) }
            demands[place].unitsBefore = demand.units
            demands[place].units = UInt16(truncatingIfNeeded: units)
            context[.expected, resource] = (high &+ 255) >> 8
            context[.need, resource] = units
            sum &+= use
            if units > UInt32(demand.least) { users &+= 1 }
            promises &+= UInt32(demand.least)
        }
        if sum > available << 8 { scarce |= resource.bit } else if sum < available &* 192 { scarce &= ~resource.bit }
        let isDivided = scarce & resource.bit != 0 && users &+ promises <= available
        var total: UInt32 = 0
        rest = concerned
        while let owner = rest.popFirst() {
            let context = contexts[owner], demand = demands[owner &* Resource.count &+ resource.rawValue]
            let units = isDivided ? min(context[.need, resource], available) : 0
            let promise = UInt32(demand.least)
            context[.capacity, resource] = available
            context[.least, resource] = max(promise, min(units, 1))
            context[.need, resource] = max(units, promise, away.contains(owner) ? 0 : demand.wish)
            total &+= context[.need, resource]
        }
        rest = concerned
        while let owner = rest.popFirst() { contexts[owner][.totalNeed, resource] = total }
    }

    /// What an owner will use of a resource, in 1/256 of a unit, with head room; and the upper end of what is forecast.
    private func use(_ demand: UnitDemand, of owner: Int) -> (expected: UInt32, high: UInt32) {
        guard demand.wanted > UnitDemand.noise, !away.contains(owner) else { return (0, 0) }
        var expected = demand.wanted, high = expected
        if isForecasting {
            let forecast = states[owner].forecast
            expected = max(expected, (demand.wanted &* forecast.load) >> 8)
            high = max(expected, (demand.wanted &* forecast.loadHigh) >> 8)
        }
        return (withHeadroom(min(expected, UnitDemand.most)), withHeadroom(min(high, UnitDemand.most)))
    }

    private func withHeadroom(_ use: UInt32) -> UInt32 { use &+ (use &* headroom) >> 8 }
}
