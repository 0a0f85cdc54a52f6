import AdminProtocol

extension PolicyReason {
    /// In words.
    public var text: String {
        switch self {
        case .selected: "the host has selected it"
        case .best: "most is expected of it"
        case .trial: "little is known of it, and not much less is expected"
        case .guardRail: "the one before did worse than this one would have, by more than 5 %"
        case .undone: "the one before made things worse, which is undone"
        case .held: "it made things worse itself: the allocation stays as it is for a time"
        case .fault: "the program of the one before was ended"
        case .gone: "the one before isn't there any more"
        }
    }
}

extension SelectionStatus {
    /// Why the policy in force is, in words.
    public var reasonText: String { PolicyReason(rawValue: reason)?.text ?? "reason \(reason)" }

    /// A utility, 0...1.
    public static func fraction(_ utility: UInt16) -> Double { Double(utility) / 65_535 }
}
