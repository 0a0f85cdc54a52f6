/// The latest decisions, with all that they depended on and all that they gave, in a ring of words.
///
/// A record is a run of sections: a head (`DecisionSection.head`), words, and a ``SectionChecksum`` of words and head. The first
/// section says what the record is (``RecordStart``). Records are numbered, so that what was overwritten before anybody read it shows as a gap.
public struct DecisionLog: ~Copyable {
    public static let words = 65_536
    private static let longestSection = 65

    /// At its end there is room for a section more, so that none has to be written in two parts.
    private let ring: Table<UInt32>
    /// Words written since the start, and where the oldest record begins that is whole; wrapping.
    public private(set) var end: UInt32 = 0
    public private(set) var first: UInt32 = 0
    /// Up to here sections have their checksums: they are worked out when somebody reads, since a decision's time is dear, and the memory that
    /// they lie in until then has its own.
    private var sealed: UInt32 = 0
    /// Where the latest record begins.
    public private(set) var latest: UInt32 = 0
    private var opening = RecordStart()
    /// Records written, and records overwritten since the start, wrapping.
    public private(set) var records: UInt32 = 0
    public private(set) var overwritten: UInt32 = 0

    public init(in arena: inout Arena) { ring = arena.table(of: Self.words + Self.longestSection, repeating: 0) }

    /// The word at a position of `first` to `end`, which has to be sealed.
    public subscript(_ position: UInt32) -> UInt32 { ring[Self.place(position)] }

    @inline(__always) private static func place(_ position: UInt32) -> Int { Int(position & UInt32(truncatingIfNeeded: words &- 1)) }

    /// Begins a record. Nobody looks before it is finished.
    mutating func begin(_ kind: RecordStart.Kind, at time: UInt64) {
        latest = end
        opening = RecordStart()
        (opening.kind, opening.number, opening.time) = (kind.rawValue, records, time)
        putOpening()
    }

    mutating func finish() {
        let end = end
        opening.count = end &- latest
        self.end = latest
        putOpening()
        self.end = end
        records &+= 1
    }

    private mutating func putOpening() {
        var fields = open()
        opening.visit(&fields)
        close(.start, 0, fields)
    }

    /// Where the words of the next section go, 62 at most, so that its checksum says which one is wrong.
    @inline(__always) mutating func open() -> SectionFields {
        makeRoom(UInt32(truncatingIfNeeded: Self.longestSection))
        return SectionFields(saving: ring.part(0, of: ring.count) + Self.place(end) + 1)
    }

    /// Ends a section, with its head and room for its checksum.
    @inline(__always) mutating func close(_ kind: DecisionSection, _ index: Int, _ fields: SectionFields) {
        let base = ring.part(0, of: ring.count), place = Self.place(end)
        let count = fields.next - (base + place) - 1
        base[place] = kind.head(index: index, count: count)
        // What went beyond the ring's end belongs at its beginning.
        let size = count &+ 3, beyond = place &+ size &- Self.words
        if beyond > 0 { base.update(from: base + Self.words, count: beyond) }
        end &+= UInt32(truncatingIfNeeded: size)
    }

    /// Appends a section.
    mutating func put(_ kind: DecisionSection, _ index: Int, _ words: UnsafePointer<UInt32>, _ count: Int) {
        var fields = open()
        for place in 0..<count { fields.save(words[place]) }
        close(kind, index, fields)
    }

    /// Gives whatever lies before a position its checksums.
    public mutating func seal(upTo position: UInt32) {
        while sealed != end, Int32(bitPattern: position &- sealed) > 0 {
            let head = ring[Self.place(sealed)], count = head & 0xff
            var sum = SectionChecksum()
            for place in 0..<count { sum.add(ring[Self.place(sealed &+ 1 &+ place)]) }
            sum.add(head)
            ring[Self.place(sealed &+ 1 &+ count)] = sum.parity
            ring[Self.place(sealed &+ 2 &+ count)] = sum.mixed
            sealed &+= count &+ 3
        }
    }

    /// The oldest records go. No record is longer than the ring.
    @inline(__always) private mutating func makeRoom(_ count: UInt32) {
        while end &- first &+ count > UInt32(truncatingIfNeeded: Self.words), first != latest {
            first &+= ring[Self.place(first &+ RecordStart.countPlace)]
            overwritten &+= 1
            if Int32(bitPattern: first &- sealed) > 0 { sealed = first }
        }
    }
}

/// What a section of a record holds.
public enum DecisionSection: UInt32, Sendable, CaseIterable {
    /// What the record is.
    case start = 1
    /// Of a program: its number of instructions and its checksum; a part of it.
    case program = 2, instructions = 3
    /// What a decision depends on: parameters, sets of owners and what else there is once; a policy; a part of the memory of one; what the
    /// selection remembers, and what it knows of a policy; what an epoch has done for an owner.
    case engine = 4, policy = 5, memory = 6, selection = 7, knowledge = 8, outcome = 9
    /// What it gives: the choice; the selection and what is known of a policy afterwards. What is known of an owner, what it needs, what is
    /// claimed for it and what it is to have.
    case choice = 16, selectionAfter = 17, knowledgeAfter = 18, owner = 19

    /// Kind, index, and number of words.
    func head(index: Int, count: Int) -> UInt32 {
        rawValue << 24 | UInt32(truncatingIfNeeded: index & 0xffff) << 8 | UInt32(truncatingIfNeeded: count & 0xff)
    }
}

/// The first section of every record.
public struct RecordStart: Equatable, Sendable {
    public enum Kind: UInt32, Sendable {
        /// A decision of a period; a division that makes room for what the host has given somebody; a program that decisions name.
        case decision = 0, makingRoom = 1, program = 2
    }

    /// `ODLG`
    public static let expectedMagic: UInt32 = 0x474c_444f
    public static let version: UInt32 = 1
    static let wordCount = 7
    /// Where in a record its number of words is, head included.
    public static let countPlace: UInt32 = 3

    public var magic = Self.expectedMagic
    public var layout = Self.version
    /// Words of the record, and which one it is since the firmware started, wrapping.
    public var count: UInt32 = 0
    public var number: UInt32 = 0
    /// ``Kind``
    public var kind: UInt32 = 0
    /// When it was made, in device cycles.
    public var time: UInt64 = 0

    public init() {}

    mutating func visit(_ fields: inout SectionFields) {
        fields.word(&magic)
        fields.word(&layout)
        fields.word(&count)
        fields.word(&number)
        fields.word(&kind)
        fields.long(&time)
    }
}

/// The words' parity, and the parity of all parities so far, rotated by one for each: a flipped bit shows in the first, and in the second as
/// many bits as there are words from it on, up to 63 (then they go back to none).
public struct SectionChecksum: Equatable, Sendable {
    public private(set) var parity: UInt32 = 0
    public private(set) var mixed: UInt32 = 0

    public init() {}

    @inline(__always) public mutating func add(_ word: UInt32) {
        parity ^= word
        mixed = (mixed >> 1 | mixed &<< 31) ^ parity
    }
}

/// The words of a section, on their way into a record or out of it: one list of fields serves both.
struct SectionFields {
    /// Where the next word is.
    private(set) var next: UnsafeMutablePointer<UInt32>
    private let isRestoring: Bool

    @inline(__always) init(saving words: UnsafeMutablePointer<UInt32>) { next = words; isRestoring = false }
    @inline(__always) init(restoring words: UnsafePointer<UInt32>) { next = UnsafeMutablePointer(mutating: words); isRestoring = true }

    @inline(__always) mutating func save(_ word: UInt32) {
        next.pointee = word
        next += 1
    }

    @inline(__always) private mutating func restored() -> UInt32 {
        defer { next += 1 }
        return next.pointee
    }

    @inline(__always) mutating func word(_ value: inout UInt32) {
        if isRestoring { value = restored() } else { save(value) }
    }

    @inline(__always) mutating func number<Value: FixedWidthInteger>(_ value: inout Value) {
        if isRestoring { value = Value(truncatingIfNeeded: restored()) } else { save(UInt32(truncatingIfNeeded: value)) }
    }

    /// Two numbers that are never more than 16 bits.
    @inline(__always) mutating func halves<Value: FixedWidthInteger>(_ low: inout Value, _ high: inout Value) {
        if isRestoring {
            let word = restored()
            low = Value(truncatingIfNeeded: word & 0xffff)
            high = Value(truncatingIfNeeded: word >> 16)
        } else {
            save(UInt32(truncatingIfNeeded: low) & 0xffff | UInt32(truncatingIfNeeded: high) << 16)
        }
    }

    @inline(__always) mutating func flag(_ value: inout Bool) {
        if isRestoring { value = restored() != 0 } else { save(value ? 1 : 0) }
    }

    @inline(__always) mutating func long(_ value: inout UInt64) {
        var low = UInt32(truncatingIfNeeded: value), high = UInt32(truncatingIfNeeded: value >> 32)
        word(&low)
        word(&high)
        value = UInt64(high) << 32 | UInt64(low)
    }

    @inline(__always) mutating func owners(_ value: inout OwnerSet) {
        var (low, high, last) = value.words
        word(&low)
        word(&high)
        word(&last)
        value = OwnerSet(low, high, last)
    }
}
