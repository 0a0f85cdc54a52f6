import Simulation

// Whose piece is next, and what it costs its owner: see ``Link``.

extension Link.State {
    struct Choice {
        var flow: Int
        /// The piece counts against the owner's guarantee, not against its share of the rest.
        var isGuaranteed: Bool
    }

    /// The flow whose first transfer moves on at `time`; nil if every flow with a transfer waits for its token bucket.
    mutating func choose(at time: FineCycle, quantum: UInt64) -> Choice? {
        var guaranteed = -1
        var weighted = -1
        for flow in queues.backlogged {
            let piece = min(queues[first: flow].rest, quantum)
            guard flows[flow].limit.earliest(for: piece, at: time) <= time else {
                // What the limit withholds is not owed to the flow later.
                flows[flow].due = max(flows[flow].due, time)
                flows[flow].start = max(flows[flow].start, virtualTime)
                continue
            }
            if !flows[flow].guarantee.isUnlimited, flows[flow].due <= time {
                if guaranteed < 0 || flows[flow].due < flows[guaranteed].due { guaranteed = flow }
            } else if weighted < 0 || flows[flow].start < flows[weighted].start {
                weighted = flow
            }
        }
        if guaranteed >= 0 { return Choice(flow: guaranteed, isGuaranteed: true) }
        return weighted >= 0 ? Choice(flow: weighted, isGuaranteed: false) : nil
    }

    /// Moves one piece, from `time` on.
    mutating func serve(_ choice: Choice, at time: FineCycle, rate: Rate, quantum: UInt64, latency: Cycle) {
        let flow = choice.flow
        let piece = min(queues[first: flow].rest, quantum)
        let duration = rate.duration(of: piece)
        free = time + duration
        busy = busy + duration
        bytes &+= piece
        flows[flow].bytes &+= piece
        flows[flow].limit.take(piece, at: time)
        if choice.isGuaranteed {
            flows[flow].due = flows[flow].due + flows[flow].guarantee.duration(of: piece)
        } else {
            virtualTime = max(virtualTime, flows[flow].start)
            flows[flow].start &+= max(piece &<< 16 / flows[flow].weight, 1)
        }
        queues[first: flow].rest &-= piece
        if queues[first: flow].rest == 0 {
            deliveries.append(.init(cycle: free.roundedUp &+ latency, flow: flow, transfer: queues.removeFirst(flow)))
        }
    }

    /// The first time, not before `time`, at which some flow with a transfer may move a piece.
    func earliestPermit(after time: FineCycle, quantum: UInt64) -> FineCycle {
        var earliest = FineCycle(rawValue: .max)
        for flow in queues.backlogged {
            earliest = min(earliest, flows[flow].limit.earliest(for: min(queues[first: flow].rest, quantum), at: time))
        }
        return earliest
    }
}
