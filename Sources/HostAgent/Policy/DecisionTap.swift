import AdminProtocol

/// Reads the decision log as it grows, in whole records.
public struct DecisionTap {
    private let client: AdminClient
    private var position: UInt32?
    /// Words of a record of which the rest is still to come.
    private var begun: [UInt32] = []
    /// Records that the firmware has written since it started.
    public private(set) var records: UInt32 = 0

    public init(_ client: AdminClient) { self.client = client }

    /// - Returns: the records that have come since the last call; at first, those that are there. Gaps show in their numbers.
    public mutating func take() throws -> [UInt32] {
        var taken: [UInt32] = []
        while true {
            // At first: a position that can't be there brings the oldest record.
            let asked = try position ?? client.decisions(from: 0).header.first
            let (header, words) = try client.decisions(from: asked)
            records = header.records
            // The firmware was faster, or has started anew: what had begun is lost.
            if header.position != asked { begun = [] }
            begun += words
            position = header.position &+ header.count
            while begun.count > DecisionLogHeader.recordLengthPlace {
                let count = Int(begun[DecisionLogHeader.recordLengthPlace])
                guard begun[1] == DecisionLogHeader.recordMagic,
                    count > DecisionLogHeader.recordLengthPlace, count <= DecisionLogHeader.longestRecord
                else {
                    guard asked != header.first else {
                        throw AgentError("a record of decisions expected at \(asked), 0x\(hex(begun[1])) and \(count) words found")
                    }
                    // It has started anew, and its log has gone beyond the position already, which was in the middle of a record.
                    (begun, position) = ([], header.first)
                    break
                }
                guard count <= begun.count else { break }
                taken += begun[..<count]
                begun.removeFirst(count)
            }
            if position == header.end { return taken }
        }
    }
}
