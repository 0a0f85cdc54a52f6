import AdminProtocol
import Hardware
import PolicyEngine

/// What the host has told the firmware and must not be forgotten with a restart: kept in SYSCTL.SCRATCH, which only power-on clears.
/// Everything else is in the blocks' own registers.
struct Settings {
    /// Words 0...4 are the encoded policy parameters without their reserved bytes, 5...7 the set of pinned owners.
    private let scratch: RegisterArray<SYSCTL.SCRATCH>

    init(_ system: SYSCTL) { scratch = system.scratch }

    /// Parameters as they were saved; those of power-on if there are none.
    var policy: PolicyParameters {
        var words = InlineArray<8, UInt32>(repeating: 0)
        for index in 0..<5 { words[index] = scratch[index].value }
        let parameters = withUnsafeBytes(of: &words) { PolicyParameters(decoding: $0.baseAddress!) }
        return PolicyEngine.isInRange(parameters) ? parameters : PolicyParameters()
    }

    func save(_ parameters: PolicyParameters) {
        var words = InlineArray<8, UInt32>(repeating: 0)
        withUnsafeMutableBytes(of: &words) { parameters.encode(to: $0.baseAddress!) }
        for index in 0..<5 { scratch[index] = .init(value: words[index]) }
    }

    var pinned: OwnerSet { OwnerSet(scratch[5].value, scratch[6].value, scratch[7].value) }

    func save(pinned: OwnerSet) {
        let words = pinned.words
        scratch[5] = .init(value: words.0)
        scratch[6] = .init(value: words.1)
        scratch[7] = .init(value: words.2)
    }
}
