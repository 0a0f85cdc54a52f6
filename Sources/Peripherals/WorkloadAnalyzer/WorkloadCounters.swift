import Interconnect
import Simulation

/// Everything that the Workload Analyzer counts: the present window, the last eight, and the totals.
///
/// A *meter* is an owner (number 9 x owner) or one of its queues (9 x owner + 1 + queue). Nothing here allocates after creation.
struct WorkloadCounters: Sendable {
    static let owners = 65
    static let queues = 8
    static let meters = owners * (1 + queues)
    /// Past windows that are kept.
    static let depth = 8
    /// Distinct, written and dirty pages.
    private static let sketchesPerOwner = 3

    /// Windows latched so far; the present one gets the next number.
    private(set) var latched: UInt64 = 0
    /// The present window's first cycle.
    private(set) var start: Cycle = 0
    /// The sum of the latched windows' lengths.
    private(set) var covered: UInt64 = 0
    /// Owners with anything to show in the latest window, owner n in bit n % 64 of word n / 64.
    private(set) var active: (UInt64, UInt64) = (0, 0)

    private var progress = [WorkloadProgress](repeating: WorkloadProgress(), count: meters)
    private var present = [UInt64](repeating: 0, count: meters * WorkloadRecord.words)
    private var totals = [UInt64](repeating: 0, count: meters * WorkloadRecord.words)
    /// Ring of past windows: window w is in slot w % depth.
    private var past = [UInt64](repeating: 0, count: depth * meters * WorkloadRecord.words)
    /// Which window each meter's record in each slot belongs to; a meter without a record there did nothing in that window.
    private var windowOf = [UInt64](repeating: 0, count: depth * meters)
    private var bounds = [(start: Cycle, end: Cycle)](repeating: (0, 0), count: depth)
    private var sketches = [UInt64](repeating: 0, count: owners * sketchesPerOwner * PageSketch.words)
    private var totalSketches = [UInt64](repeating: 0, count: owners * sketchesPerOwner * PageSketch.words)

    static func meter(owner: Int, queue: Int? = nil) -> Int { owner &* (1 + queues) &+ (queue.map { $0 &+ 1 } ?? 0) }

    // MARK: Counting

    /// - Parameter counts: false while the analyzer is off, when only the requests in flight are followed.
    mutating func arrive(_ request: IORequest, owner: Int, counts: Bool) {
        let meter = Self.meter(owner: owner)
        let cycle = request.arrival
        guard counts else { return follow(meter, request.queue, +1) }
        count(meter) { $0.arrive(request, at: cycle, in: $1) }
        if request.queue < Self.queues { count(meter &+ 1 &+ Int(request.queue)) { $0.arrive(request, at: cycle, in: $1) } }
        guard request.kind == .read || request.kind == .write else { return }
        sketch(owner, 0, request.position, request.bytes)
        if request.kind == .write { sketch(owner, 1, request.position, request.bytes) }
    }

    mutating func complete(_ request: IORequest, owner: Int, counts: Bool) {
        let meter = Self.meter(owner: owner)
        let cycle = request.completion
        guard counts else { return follow(meter, request.queue, -1) }
        count(meter) { $0.complete(request, at: cycle, in: $1) }
        if request.queue < Self.queues { count(meter &+ 1 &+ Int(request.queue)) { $0.complete(request, at: cycle, in: $1) } }
    }

    /// The owner has used so much of a resource.
    mutating func use(_ amount: UInt64, of resource: Int, owner: Int) {
        count(Self.meter(owner: owner)) { $0.isTouched = true; $1[WorkloadRecord.used &+ resource] &+= amount }
    }

    mutating func withdraw(_ request: IORequest, owner: Int, at cycle: Cycle, counts: Bool) {
        let meter = Self.meter(owner: owner)
        guard counts else { return follow(meter, request.queue, -1) }
        count(meter) { $0.withdraw(at: cycle, in: $1) }
        if request.queue < Self.queues { count(meter &+ 1 &+ Int(request.queue)) { $0.withdraw(at: cycle, in: $1) } }
    }

    /// Device DMA wrote to the owner's memory.
    mutating func write(owner: Int, address: UInt64, bytes: UInt64) {
        let meter = Self.meter(owner: owner)
        count(meter) { $0.isTouched = true; $1[WorkloadRecord.dmaBytes] &+= bytes }
        sketch(owner, 2, address, bytes)
    }

    @inline(__always)
    private mutating func count(_ meter: Int, _ body: (inout WorkloadProgress, UnsafeMutablePointer<UInt64>) -> Void) {
        present.withUnsafeMutableBufferPointer { records in
            progress.withUnsafeMutableBufferPointer { progress in
                body(&progress[meter], records.baseAddress! + meter &* WorkloadRecord.words)
            }
        }
    }

    private mutating func follow(_ meter: Int, _ queue: UInt16, _ change: Int) {
        progress[meter].follow(change)
        if queue < Self.queues { progress[meter &+ 1 &+ Int(queue)].follow(change) }
    }

    private mutating func sketch(_ owner: Int, _ which: Int, _ position: UInt64, _ bytes: UInt64) {
        let place = (owner &* Self.sketchesPerOwner &+ which) &* PageSketch.words
        sketches.withUnsafeMutableBufferPointer { PageSketch.insert($0.baseAddress! + place, position: position, count: bytes) }
    }

    // MARK: Windows

    /// Begins a window at `cycle` and forgets what the present one has counted; requests in flight stay in flight.
    mutating func begin(at cycle: Cycle) {
        start = cycle
        for meter in 0..<Self.meters { clear(meter, at: cycle) }
        for word in sketches.indices { sketches[word] = 0 }
    }

    /// Forgets every window and the totals, too. Windows count from 1 again.
    mutating func reset(at cycle: Cycle) {
        let flying = progress.map(\.depth)
        self = WorkloadCounters()
        for meter in 0..<Self.meters { progress[meter].depth = flying[meter] }
        begin(at: cycle)
    }

    private mutating func clear(_ meter: Int, at cycle: Cycle) {
        progress[meter].isTouched = false
        progress[meter].depthSince = cycle
        let base = meter * WorkloadRecord.words
        for word in 0..<WorkloadRecord.words { present[base + word] = 0 }
        present[base + WorkloadRecord.depth] = UInt64(progress[meter].depth) << 32
    }

    /// Ends the present window at `cycle` and begins the next.
    mutating func latch(at cycle: Cycle) {
        latched &+= 1
        let slot = Int(latched % UInt64(Self.depth))
        bounds[slot] = (start, max(cycle, start))
        covered &+= bounds[slot].end &- start
        active = (0, 0)
        for owner in 0..<Self.owners {
            let meter = Self.meter(owner: owner)
            guard progress[meter].isTouched || progress[meter].depth > 0 else { continue }
            if owner < 64 { active.0 |= 1 << UInt64(owner) } else { active.1 |= 1 << UInt64(owner - 64) }
            estimatePages(owner)
            for meter in meter..<(meter + 1 + Self.queues) where progress[meter].isTouched || progress[meter].depth > 0 {
                store(meter, slot, at: cycle)
            }
        }
        start = bounds[slot].end
    }

    private mutating func store(_ meter: Int, _ slot: Int, at cycle: Cycle) {
        let base = meter * WorkloadRecord.words
        let place = (slot * Self.meters + meter) * WorkloadRecord.words
        present.withUnsafeMutableBufferPointer { present in
            let record = present.baseAddress! + base
            progress[meter].settleDepth(at: cycle, in: record)
            record[WorkloadRecord.depth] |= UInt64(progress[meter].depth)
            record[WorkloadRecord.stride] = progress[meter].stride
            record[WorkloadRecord.duration] = bounds[slot].end &- bounds[slot].start
            totals.withUnsafeMutableBufferPointer { WorkloadRecord.add(record, to: $0.baseAddress! + base) }
            past.withUnsafeMutableBufferPointer { ($0.baseAddress! + place).update(from: record, count: WorkloadRecord.words) }
        }
        windowOf[slot * Self.meters + meter] = latched
        clear(meter, at: bounds[slot].end)
    }

    /// Turns the owner's sketches into numbers in its present record and its totals, and begins new sketches.
    private mutating func estimatePages(_ owner: Int) {
        let base = Self.meter(owner: owner) * WorkloadRecord.words
        for which in 0..<Self.sketchesPerOwner {
            let place = (owner * Self.sketchesPerOwner + which) * PageSketch.words
            sketches.withUnsafeMutableBufferPointer { sketches in
                let sketch = sketches.baseAddress! + place
                present[base + WorkloadRecord.distinctPages + which] = PageSketch.estimate(sketch)
                totalSketches.withUnsafeMutableBufferPointer { all in
                    PageSketch.unite(sketch, into: all.baseAddress! + place)
                    totals[base + WorkloadRecord.distinctPages + which] = PageSketch.estimate(all.baseAddress! + place)
                }
                sketch.update(repeating: 0, count: PageSketch.words)
            }
        }
    }

    // MARK: Reading

    /// Whether the window `age` back exists: 1 the latest, up to 8; 0 the totals.
    func exists(age: Int) -> Bool { age == 0 || (1...Self.depth).contains(age) && UInt64(age) <= latched }

    /// The window `age` back: its number and bounds. Totals have the latest one's number.
    func window(age: Int) -> (number: UInt64, start: Cycle, end: Cycle) {
        let number = latched &- UInt64(max(age - 1, 0))
        let slot = bounds[Int(number % UInt64(Self.depth))]
        return (number, slot.start, slot.end)
    }

    /// Gives the meter's record in the window `age` back, which has to exist; nil if it did nothing in that window.
    func withRecord<Result>(_ meter: Int, age: Int, _ body: (UnsafePointer<UInt64>?) -> Result) -> Result {
        if age == 0 {
            return totals.withUnsafeBufferPointer { body($0.baseAddress! + meter * WorkloadRecord.words) }
        }
        let number = window(age: age).number
        let place = Int(number % UInt64(Self.depth)) * Self.meters + meter
        guard windowOf[place] == number else { return body(nil) }
        return past.withUnsafeBufferPointer { body($0.baseAddress! + place * WorkloadRecord.words) }
    }
}

extension WorkloadCounters: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&latched)
        try archive.cycle(&start)
        try archive.integer(&covered)
        try archive.integer(&active.0)
        try archive.integer(&active.1, in: 0...1)
        try archive.elements(&progress) { (archive, progress) throws(SnapshotError) in
            // Most owners have nothing.
            var isThere = progress != WorkloadProgress()
            try archive.flag(&isThere)
            if isThere { try progress.archive(&archive) } else { progress = WorkloadProgress() }
        }
        for slot in bounds.indices {
            try archive.cycle(&bounds[slot].start)
            try archive.cycle(&bounds[slot].end)
        }
        try archive.sparseIntegers(&present, block: WorkloadRecord.words)
        try archive.sparseIntegers(&totals, block: WorkloadRecord.words)
        try archivePast(&archive)
        try archive.sparseIntegers(&sketches, block: PageSketch.words)
        try archive.sparseIntegers(&totalSketches, block: PageSketch.words)
    }

    /// The records that can still be read: those of the windows that exist.
    private mutating func archivePast(_ archive: inout StateArchive) throws(SnapshotError) {
        if archive.isLoading { for place in windowOf.indices { windowOf[place] = 0 } }
        for age in UInt64(1)...UInt64(Self.depth) where age <= latched {
            let number = latched - (age - 1)
            let slot = Int(number % UInt64(Self.depth))
            for meter in 0..<Self.meters {
                let place = slot * Self.meters + meter
                var isThere = windowOf[place] == number
                try archive.flag(&isThere)
                guard isThere else { continue }
                windowOf[place] = number
                let words = place * WorkloadRecord.words
                try archive.integers(&past, in: words..<words + WorkloadRecord.words)
            }
        }
    }
}
