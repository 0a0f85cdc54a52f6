import AdminProtocol
import PolicyEngine

/// The decision log (regmaps/hostif/README.md, Decision log).
extension OffloadManager {
    /// Words of the log that one command returns at most, so that it doesn't hold up the windows.
    private static let mostWords: UInt32 = 4096

    /// Words of the log from a position on, as many as fit. Records say what every owner does: while one has a key nobody reads them.
    mutating func decisions(from position: UInt32, _ request: Request) -> Answer {
        guard !audit.hasKeys else { return Answer(.denied, .key) }
        let headerBytes = UInt32(DecisionLogHeader.byteCount), start = UInt32(AdminResult.byteCount)
        var header = DecisionLogHeader()
        (header.first, header.end) = (policy.log.first, policy.log.end)
        (header.records, header.overwritten) = (policy.log.records, policy.log.overwritten)
        let isThere = position &- header.first <= header.end &- header.first
        header.position = isThere ? position : header.first
        header.count = min(header.end &- header.position, (request.room &- headerBytes) / 4, Self.mostWords)
        put(header, at: start, in: request.chain)
        policy.log.seal(upTo: header.position &+ header.count)
        var buffer = InlineArray<64, UInt32>(repeating: 0)
        var done: UInt32 = 0
        while done < header.count {
            let words = min(header.count &- done, UInt32(buffer.count))
            for place in 0..<words { buffer[Int(place)] = policy.log[header.position &+ done &+ place].littleEndian }
            withUnsafeBytes(of: &buffer) { bytes in
                guard let base = bytes.baseAddress else { return }
                queue.write(request.chain, at: start &+ headerBytes &+ done &* 4, from: base, count: words &* 4)
            }
            done &+= words
        }
        let written = headerBytes &+ header.count &* 4
        return Answer(.ok, resultBytes: written, written: written)
    }
}
