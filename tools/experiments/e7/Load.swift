import RecordedTrace
import Simulation

/// What one virtual machine asks of the channel.
enum Client {
    /// Requests at their times, whatever becomes of them.
    case open([(cycle: Cycle, bytes: UInt32)])
    /// So many requests of a size always in flight, from one cycle to another.
    case closed(depth: Int, bytes: UInt32, from: Cycle, to: Cycle)
}

let second: Cycle = 1_000_000_000

extension Client {
    /// Ten minutes of a recording in one minute of device time.
    static func replay(_ trace: RecordedTrace, from seconds: UInt64) -> Client {
        let start = trace.requests[0].microsecond + seconds * 1_000_000
        return .open(trace.requests.lazy.filter { ($0.microsecond >= start) && $0.microsecond < start + 600_000_000 }.map {
            (($0.microsecond - start) * 100, UInt32(clamping: $0.bytes))
        })
    }

    /// The beginning of another client's requests, at a later time.
    func shifted(to cycle: Cycle, for length: Cycle) -> Client {
        guard case .open(let requests) = self else { return self }
        return .open(requests.lazy.filter { $0.cycle < length }.map { ($0.cycle + cycle, $0.bytes) })
    }

    static func merged(_ clients: [Client]) -> Client {
        .open(clients.flatMap { client -> [(cycle: Cycle, bytes: UInt32)] in
            guard case .open(let requests) = client else { return [] }
            return requests
        }.sorted { $0.cycle < $1.cycle })
    }

    /// Requests at random times, so many in a second.
    static func random(_ perSecond: Double, bytes: UInt32, from: Cycle, to: Cycle, seed: UInt64) -> Client {
        var random = SplitMix64(seed: seed), requests: [(cycle: Cycle, bytes: UInt32)] = [], cycle = from
        while true {
            // Four uniform parts: not quite exponential, and the same on every machine.
            let parts = (0..<4).reduce(UInt64(0)) { sum, _ in sum + random.next() >> 40 }
            cycle += Cycle(Double(parts) / Double(1 << 25) * Double(second) / perSecond)
            guard cycle < to else { return .open(requests) }
            requests.append((cycle, bytes))
        }
    }
}
