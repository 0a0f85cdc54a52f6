/// Uncorrectable errors, by their bit in the AER registers (PCI Express Base 5.0, 7.8.4.2).
public enum UncorrectableError: Int, CaseIterable, Sendable {
    case dataLinkProtocol = 4
    case surpriseDown = 5
    case poisonedTLP = 12
    case flowControlProtocol = 13
    case completionTimeout = 14
    case completerAbort = 15
    case unexpectedCompletion = 16
    case receiverOverflow = 17
    case malformedTLP = 18
    case ecrc = 19
    case unsupportedRequest = 20
    case accessControlViolation = 21
    case uncorrectableInternal = 22

    var bit: UInt32 { 1 << UInt32(rawValue) }

    /// The errors that a function of this kind implements.
    static func mask(_ kind: ExpressKind) -> UInt32 {
        var mask: UInt32 = 0
        for error in allCases where kind == .rootPort || (error != .surpriseDown && error != .accessControlViolation) { mask |= error.bit }
        return mask
    }
    /// Reset values of the mask and severity registers (7.8.4.3, 7.8.4.4).
    static let maskedAtReset = UncorrectableError.uncorrectableInternal.bit
    static let fatalAtReset: UInt32 = 0x0046_2030
}

/// Correctable errors, by their bit in the AER registers (7.8.4.5).
public enum CorrectableError: Int, CaseIterable, Sendable {
    case receiver = 0
    case badTLP = 6
    case badDLLP = 7
    case replayRollover = 8
    case replayTimeout = 12
    case advisoryNonFatal = 13
    case correctedInternal = 14
    case headerLogOverflow = 15

    var bit: UInt32 { 1 << UInt32(rawValue) }

    static let mask: UInt32 = allCases.reduce(0) { $0 | $1.bit }
    /// Reset value of the mask register (7.8.4.6).
    static let maskedAtReset: UInt32 = 0xe000
}

/// The message that carries an error to the root complex (2.2.8.3).
public enum ErrorMessage: Int, CaseIterable, Sendable {
    case correctable
    case nonFatal
    case fatal
}

/// How many error messages of each kind a function has sent, and why: what Linux shows as `aer_dev_*`.
public struct ErrorCounts: Hashable, Sendable {
    /// By bit of the correctable status register.
    public internal(set) var correctable = [UInt64](repeating: 0, count: 16)
    /// By bit of the uncorrectable status register, sent as ERR_NONFATAL.
    public internal(set) var nonFatal = [UInt64](repeating: 0, count: 32)
    /// By bit of the uncorrectable status register, sent as ERR_FATAL.
    public internal(set) var fatal = [UInt64](repeating: 0, count: 32)

    /// The lines of `aer_dev_correctable`, `aer_dev_nonfatal` or `aer_dev_fatal`: Linux's names, in Linux's order, the total last.
    public func lines(_ message: ErrorMessage) -> [(name: String, count: UInt64)] {
        let (names, counts, total) = switch message {
        case .correctable: (Self.correctableNames, correctable, "TOTAL_ERR_COR")
        case .nonFatal: (Self.uncorrectableNames, nonFatal, "TOTAL_ERR_NONFATAL")
        case .fatal: (Self.uncorrectableNames, fatal, "TOTAL_ERR_FATAL")
        }
        return names.map { ($0.name, counts[$0.bit]) } + [(total, counts.reduce(0, &+))]
    }

    private static let correctableNames: [(bit: Int, name: String)] = [
        (0, "RxErr"), (6, "BadTLP"), (7, "BadDLLP"), (8, "Rollover"), (12, "Timeout"), (13, "NonFatalErr"), (14, "CorrIntErr"),
        (15, "HeaderOF"),
    ]
    private static let uncorrectableNames: [(bit: Int, name: String)] = [
        (0, "Undefined"), (4, "DLP"), (5, "SDES"), (12, "TLP"), (13, "FCP"), (14, "CmpltTO"), (15, "CmpltAbrt"), (16, "UnxCmplt"),
        (17, "RxOF"), (18, "MalfTLP"), (19, "ECRC"), (20, "UnsupReq"), (21, "ACSViol"), (22, "UncorrIntErr"), (23, "BlockedTLP"),
        (24, "AtomicOpBlocked"), (25, "TLPBlockedErr"), (26, "PoisonTLPBlocked"),
    ]
}

/// The header of a transaction as the AER header log keeps it (2.2.4): four dwords, first byte most significant.
public struct TransactionHeader: Hashable, Sendable {
    public var words: (UInt32, UInt32, UInt32, UInt32)
    /// A posted request gets no completion, so an error in it is not advisory (6.2.3.2.4).
    public var isPosted: Bool

    /// A memory or I/O request of the root complex for `size` bytes at `address`.
    init(address: UInt64, size: Int, isWrite: Bool, isIO: Bool) {
        let long = address >> 32 != 0
        let format: UInt32 = (isWrite ? 0x40 : 0) | (long ? 0x20 : 0) | (isIO ? 0x02 : 0)
        let offset = Int(truncatingIfNeeded: address) & 3
        let end = offset &+ min(max(size, 1), 8)
        let count = UInt32((end + 3) / 4)
        let enables = (UInt32(1) << UInt32(end)) &- (UInt32(1) << UInt32(offset))
        let firstEnables = enables & 0xf
        let lastEnables = count == 1 ? 0 : enables >> (4 * (count - 1)) & 0xf
        let low = UInt32(truncatingIfNeeded: address) & ~3
        words = (format << 24 | count, lastEnables << 4 | firstEnables,
                 long ? UInt32(truncatingIfNeeded: address >> 32) : low, long ? low : 0)
        isPosted = isWrite && !isIO
    }

    public static func == (a: Self, b: Self) -> Bool { a.words == b.words && a.isPosted == b.isPosted }
    public func hash(into hasher: inout Hasher) {
        for word in [words.0, words.1, words.2, words.3] { hasher.combine(word) }
        hasher.combine(isPosted)
    }
}
