import Simulation

/// Loads that need no recording: the same on every machine.
enum Mix: String, CaseIterable {
    case interactive = "three light, two batch"
    case flood = "four floods of 4 KiB, two batch"
    case quiet = "three light, one moderate"
    case chatty = "two light, one chatty, two batch"
    case batches = "four batch"
    case crowd = "eight light, one batch"
    case mixed = "two light, two floods, two batch"
    case moderate = "four moderate, two batch"

    /// Its virtual machines, from one cycle to another.
    func clients(from: Cycle, to: Cycle, seed: UInt64) -> Clients {
        var clients: Clients = []
        func add(_ client: Client) { clients.append((clients.count + 1, client)) }
        func light(_ count: Int) {
            for _ in 0..<count { add(.bursts(60, of: 1...24, bytes: 4096, from: from, to: to, seed: seed << 8 | UInt64(clients.count))) }
        }
        func moderate(_ count: Int) {
            for _ in 0..<count { add(.random(1500, bytes: 16_384, from: from, to: to, seed: seed << 8 | UInt64(clients.count))) }
        }
        func closed(_ count: Int, _ depth: Int, _ bytes: UInt32) {
            for _ in 0..<count { add(.closed(depth: depth, bytes: bytes, from: from, to: to)) }
        }
        switch self {
        case .interactive: light(3); closed(2, 32, 131_072)
        case .flood: closed(4, 64, 4096); closed(2, 32, 131_072)
        case .quiet: light(3); moderate(1)
        case .chatty: light(2); closed(1, 8, 4096); closed(2, 32, 131_072)
        case .batches: closed(2, 64, 131_072); closed(2, 8, 262_144)
        case .crowd: light(8); closed(1, 64, 131_072)
        case .mixed: light(2); closed(2, 64, 4096); closed(2, 32, 131_072)
        case .moderate: moderate(4); closed(2, 32, 131_072)
        }
        return clients
    }
}

extension Client {
    /// Bursts of requests at random times, so many bursts in a second.
    static func bursts(
        _ perSecond: Double, of count: ClosedRange<Int>, bytes: UInt32, from: Cycle, to: Cycle, seed: UInt64
    ) -> Client {
        guard case .open(let starts) = random(perSecond, bytes: bytes, from: from, to: to, seed: seed) else { return .open([]) }
        var random = SplitMix64(seed: ~seed)
        return .open(starts.flatMap { start in Array(repeating: start, count: Int.random(in: count, using: &random)) })
    }
}
