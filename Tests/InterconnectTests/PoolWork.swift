import Interconnect
import Simulation

/// A service pool, of cores or of slots, and owners that ask for work.
final class PoolWork: CompletionSink {
    let scheduler = Scheduler()
    let pool: ServicePool
    private(set) var port = SubmitterPort(rawValue: 0)
    /// What was done, and when; the lowest byte of an id is the owner.
    var done: [(id: UInt64, cycle: Cycle)] = []
    /// Owners that always have work waiting, with the cost of each piece.
    var endless: [UInt8: Cycle] = [:]

    init(cores: Int) {
        pool = ServicePool(.init(name: "cores", cores: cores), on: scheduler)
        port = pool.attach(self)
    }

    init(slots: Int, type: AcceleratorType = .fpga, loading: Cycle) {
        pool = ServicePool(.init(name: "slots", cores: slots, accelerator: type, loading: loading), on: scheduler)
        port = pool.attach(self)
    }

    func submit(_ owner: UInt8, _ cost: Cycle, id: UInt64 = 0) {
        pool.submit(cost: cost, owner: Owner(rawValue: owner), id: id << 8 | UInt64(owner), port: port)
    }

    func completed(_ id: UInt64, at cycle: Cycle) {
        done.append((id, cycle))
        if let cost = endless[UInt8(truncatingIfNeeded: id)] { submit(UInt8(truncatingIfNeeded: id), cost) }
    }

    func flood(_ owner: UInt8, cost: Cycle, depth: Int = 40) {
        endless[owner] = cost
        for _ in 0..<depth { submit(owner, cost) }
    }

    /// So many slots for each of these owners, none for others.
    func grant(_ slots: [Int: Int], _ type: AcceleratorType = .fpga) {
        var table = [Partition](repeating: Partition(), count: 65)
        for (owner, count) in slots {
            if type == .fpga { table[owner].fpgaSlots = UInt8(count) } else { table[owner].gpuSlots = UInt8(count) }
        }
        pool.partitionsCommitted(table, at: scheduler.now)
    }

    /// Cores or slots that an owner has kept busy, on average.
    func share(_ owner: UInt8) -> Double { Double(pool.busyCycles(of: Owner(rawValue: owner))) / Double(scheduler.now) }
}
