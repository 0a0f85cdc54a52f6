/// What there is to divide between the owners.
public enum Resource: Int, Sendable, Strideable {
    /// Of the link, in 1/1000.
    case bandwidth = 0
    /// Service cores.
    case cores = 1
    /// Memory blocks.
    case memory = 2
    /// Accelerator slots of the two types.
    case gpu = 3
    case fpga = 4

    public static let count = 5
    public static var all: ClosedRange<Resource> { .bandwidth ... .fpga }

    public func distance(to other: Resource) -> Int { other.rawValue - rawValue }
    public func advanced(by distance: Int) -> Resource { Resource(rawValue: rawValue + distance)! }

    /// What a unit that an owner doesn't have yet is worth less than one that it has, in 1/32: what it costs to hand one over. A share of
    /// the link changes at once, a core finishes a request, memory has to be cleared, an accelerator loaded.
    var movingCost: UInt32 {
        switch self {
        case .bandwidth: 0
        case .cores: 2
        case .memory: 4
        case .gpu: 4
        case .fpga: 16
        }
    }

    /// Decisions for which each resource rests when some of it has moved: what is dear to move must have been worth it.
    static let rests: InlineArray<5, UInt8> = [0, 1, 3, 3, 15]

    /// The resource's place in words that have a bit for each.
    var bit: UInt32 { 1 &<< UInt32(truncatingIfNeeded: rawValue) }
}

/// What a policy is told of one owner, and what it claims for it: 64 words, the layout that `examples/policies/outrigger_policy.h` has.
///
/// The contexts of all owners are all that a decision depends on, from the policy's claims to the units that everybody gets.
public struct PolicyContext {
    public static let wordCount = 64
    public static let byteCount = wordCount * 4
    public static let version: UInt32 = 2
    /// Words that a program may write.
    public static var claims: Range<Int> { Field.claim.rawValue..<Field.weight.rawValue + 1 }
    /// Greatest weight and greatest claim that make sense.
    public static let heaviest: UInt32 = 255
    public static let greatestClaim: UInt32 = 65535

    /// Greatest boost, which takes a weight of 1 to the heaviest.
    static let greatestBoost: UInt32 = 7

    /// Values of ``Field/bottleneck``.
    static let boundByCores: UInt32 = 1
    static let boundByMedium: UInt32 = 3
    static let boundByMemory: UInt32 = 5

    /// Words; those in brackets have one for each ``Resource``.
    public enum Field: Int {
        /// ``PolicyContext/version``; decisions since the start; the owner; owners that are active.
        case version = 0, decision = 1, owner = 2, owners = 3
        /// Microseconds of a window; what the link carries in a microsecond.
        case windowMicroseconds = 4, linkBytesPerMicrosecond = 5
        /// A bit for each resource: it is scarce; from bit 8, it rests, and nothing of it moves in this decision unless it must.
        case scarce = 6
        /// A resource's allocation changes only if somebody's would by more, in 1/1000 of the capacity.
        case hysteresis = 7
        /// [What there is to divide: not what pinned owners have, nor what always stays shared.]
        case capacity = 8
        /// The policy's four values.
        case value = 13
        /// [What all owners need together.]
        case totalNeed = 17
        /// The host's weight for the owner, and the most of the link that it may have, in 1/1000.
        case ownerWeight = 22, most = 23
        /// The latency that the host wants for it, in microseconds; 0: none in particular.
        case latencyTarget = 24
        /// Its averaged demand; what is forecast of it, and the upper end of its interval, in 1/1000 of the link, with head room. With no
        /// forecast all three are the demand.
        case demand = 25, forecast = 26, forecastHigh = 27
        /// What holds it up: `BindingResource` of the analysis.
        case bottleneck = 28
        /// Of its last active window: requests, bytes, requests in flight at the end, mean bytes of a request.
        case requests = 29, bytes = 30, depth = 31, requestBytes = 32
        /// Of its last active window: latency in microseconds, half and 99 of 100 requests took no longer.
        case latency50 = 33, latency99 = 34
        /// Sequential requests, in 1/1000.
        case sequential = 35
        /// [What should be its own, what it has at least, what it has.] While a resource isn't scarce everybody is served from what is
        /// shared of it, and nobody needs units of its own but for what the host expects.
        case need = 36, least = 41, grant = 46
        /// Whether it is active: was so lately, or is expected to be.
        case isActive = 51
        /// [What the policy wants it to have]; at first what it needs.
        case claim = 52
        /// How much that counts where not all can be had, 1...255; at first the owner's weight. What is more than that the hardware
        /// adds to it where it serves by weight: ``boost``.
        case weight = 57
        /// [What it will use, at the upper end of what is forecast, whether or not that has to be its own.]
        case expected = 58
        /// log2 of the factor by which the owner's weight counts where the hardware serves by weight: what is in force.
        case boost = 63
    }

    public let words: UnsafeMutablePointer<UInt32>

    init(_ words: UnsafeMutablePointer<UInt32>) { self.words = words }

    public subscript(_ field: Field) -> UInt32 {
        get { words[field.rawValue] }
        nonmutating set { words[field.rawValue] = newValue }
    }

    public subscript(_ field: Field, _ resource: Resource) -> UInt32 {
        get { words[field.rawValue &+ resource.rawValue] }
        nonmutating set { words[field.rawValue &+ resource.rawValue] = newValue }
    }

    /// Whether something other than the link holds the owner's requests up.
    var isHeldUpElsewhere: Bool {
        let bottleneck = self[.bottleneck]
        return bottleneck == Self.boundByCores || bottleneck == Self.boundByMedium || bottleneck == Self.boundByMemory
    }

    /// The boost that the policy's weight asks for: how often it is twice the owner's own. An owner that isn't active has none.
    var wantedBoost: UInt32 {
        guard self[.isActive] != 0 else { return 0 }
        let factor = self[.weight] / max(self[.ownerWeight], 1)
        return factor == 0 ? 0 : min(31 &- UInt32(truncatingIfNeeded: factor.leadingZeroBitCount), Self.greatestBoost)
    }

    /// Whether what a program has claimed makes sense.
    var isSensible: Bool {
        for resource in 0..<Resource.count where words[Field.claim.rawValue &+ resource] > Self.greatestClaim { return false }
        return self[.weight] >= 1 && self[.weight] <= Self.heaviest
    }
}

/// The contexts of all owners.
public struct PolicyContexts {
    /// The host and 64 virtual machines.
    public static let owners = 65
    private let words: Table<UInt32>

    init(in arena: inout Arena) {
        words = arena.table(of: Self.owners * PolicyContext.wordCount, repeating: 0)
    }

    /// - Parameter owner: 0...64; others trap.
    public subscript(_ owner: Int) -> PolicyContext {
        PolicyContext(words.part(owner, of: PolicyContext.wordCount))
    }
}
