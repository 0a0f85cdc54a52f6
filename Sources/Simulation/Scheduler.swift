/// A point in device time: fabric cycles since power-on. The only clock that a model reads.
public typealias Cycle = UInt64

/// Device time and everything that is due in it.
///
/// The scheduler is a binary heap of armed ``Deadline``s, ordered by (cycle, order of arming), so that what is due at the same
/// cycle fires in a stable order whatever the heap did meanwhile.
///
/// Each event of a device passes here several times, so its state lies in raw memory: no exclusivity check and no reference count
/// on the way. The heap doesn't own the deadlines in it: one that goes leaves it.
public final class Scheduler {
    struct Entry {
        var cycle: Cycle
        /// How many deadlines had been armed before: the tie-break.
        var order: UInt64
        var deadline: Unmanaged<Deadline>

        @inline(__always) func isBefore(_ other: Entry) -> Bool {
            cycle != other.cycle ? cycle < other.cycle : order < other.order
        }
    }

    private struct State {
        var now: Cycle = 0
        var nextDue: Cycle = .max
        var armed: UInt64 = 0
        var heap: UnsafeMutablePointer<Entry>
        var count = 0
        var capacity = 64
    }

    private let state: UnsafeMutablePointer<State>

    public init() {
        state = .allocate(capacity: 1)
        state.initialize(to: State(heap: .allocate(capacity: 64)))
    }

    deinit {
        state.pointee.heap.deallocate()
        state.deallocate()
    }

    /// The present device cycle. Monotonic.
    public var now: Cycle { state.pointee.now }
    /// The cycle of the earliest armed deadline, `Cycle.max` when nothing is armed. A hart never runs past it.
    public var nextDue: Cycle { state.pointee.nextDue }

    /// Fires everything due up to and including `cycle`, each at its own time, and leaves `now` at `cycle`.
    ///
    /// A deadline that is armed meanwhile and due by then fires too. A `cycle` that has passed is ignored.
    public func advance(to cycle: Cycle) {
        // With nothing armed, `nextDue` is a cycle as well: the last one.
        while state.pointee.nextDue <= cycle, state.pointee.count > 0 {
            let first = state.pointee.heap[0]
            if first.cycle > state.pointee.now { state.pointee.now = first.cycle }
            take(0)
            let deadline = first.deadline.takeUnretainedValue()
            deadline.fire(at: state.pointee.now)
        }
        if cycle > state.pointee.now { state.pointee.now = cycle }
    }

    /// The armed deadlines in the order in which they will fire, for people who look at a device.
    public var pending: [(name: String, due: Cycle)] {
        UnsafeBufferPointer(start: state.pointee.heap, count: state.pointee.count).sorted { $0.isBefore($1) }
            .map { ($0.deadline.takeUnretainedValue().name, $0.cycle) }
    }

    // MARK: Snapshots

    /// Saves or replaces device time. Loading disarms every deadline: each is armed again by ``Deadline/archive(_:)`` after that.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("scheduler") { (archive, _) throws(SnapshotError) in
            try archive.integer(&state.pointee.now, in: 0...StateArchive.lastCycle)
            try archive.integer(&state.pointee.armed)
        }
        guard archive.isLoading else { return }
        for place in 0..<state.pointee.count { state.pointee.heap[place].deadline._withUnsafeGuaranteedRef { $0.position = -1 } }
        state.pointee.count = 0
        state.pointee.nextDue = .max
    }

    /// Arms a deadline as it was when its state was saved.
    fileprivate func load(
        _ deadline: Deadline, at cycle: Cycle, order: UInt64, from archive: borrowing StateArchive
    ) throws(SnapshotError) {
        guard cycle >= state.pointee.now, order < state.pointee.armed else {
            throw archive.error("deadline '\(deadline.name)': expected cycle \(state.pointee.now) or later and an order below "
                + "\(state.pointee.armed), found cycle \(cycle) and order \(order)")
        }
        for place in 0..<state.pointee.count where state.pointee.heap[place].order == order {
            throw archive.error("deadline '\(deadline.name)': expected an order of its own, found that of another deadline, \(order)")
        }
        let armed = state.pointee.armed
        state.pointee.armed = order
        insert(deadline, at: cycle)
        state.pointee.armed = armed
    }

    /// How many deadlines had been armed before the one at a place of the heap.
    fileprivate func order(at position: Int) -> UInt64 { state.pointee.heap[position].order }

    /// Cycle for which the deadline at a place of the heap is armed.
    fileprivate func due(at position: Int) -> Cycle { state.pointee.heap[position].cycle }

    fileprivate func insert(_ deadline: Deadline, at cycle: Cycle) {
        let position: Int
        let reference: Unmanaged<Deadline>
        if deadline.position >= 0 {
            position = deadline.position
            reference = state.pointee.heap[position].deadline
        } else {
            if state.pointee.count == state.pointee.capacity { grow() }
            position = state.pointee.count
            reference = Unmanaged.passUnretained(deadline)
            state.pointee.count += 1
        }
        let entry = Entry(cycle: max(cycle, state.pointee.now), order: state.pointee.armed, deadline: reference)
        state.pointee.armed &+= 1
        sift(entry, from: position)
        state.pointee.nextDue = state.pointee.heap[0].cycle
    }

    fileprivate func remove(_ deadline: Deadline) {
        guard deadline.position >= 0 else { return }
        take(deadline.position)
    }

    /// Takes an entry out of the heap.
    private func take(_ position: Int) {
        let heap = state.pointee.heap
        heap[position].deadline._withUnsafeGuaranteedRef { $0.position = -1 }
        state.pointee.count -= 1
        let last = state.pointee.count
        if position != last { sift(heap[last], from: position) }
        state.pointee.nextDue = last > 0 ? heap[0].cycle : .max
    }

    /// Puts an entry where it belongs, starting at a place whose own entry is not needed any more.
    private func sift(_ entry: Entry, from start: Int) {
        let heap = state.pointee.heap, count = state.pointee.count
        var hole = start
        while hole > 0 {
            let parent = (hole - 1) / 2
            guard entry.isBefore(heap[parent]) else { break }
            place(heap[parent], at: hole)
            hole = parent
        }
        if hole == start {
            while true {
                var child = 2 * hole + 1
                guard child < count else { break }
                if child + 1 < count, heap[child + 1].isBefore(heap[child]) { child += 1 }
                guard heap[child].isBefore(entry) else { break }
                place(heap[child], at: hole)
                hole = child
            }
        }
        place(entry, at: hole)
    }

    @inline(__always) private func place(_ entry: Entry, at position: Int) {
        state.pointee.heap[position] = entry
        entry.deadline._withUnsafeGuaranteedRef { $0.position = position }
    }

    private func grow() {
        let larger = UnsafeMutablePointer<Entry>.allocate(capacity: state.pointee.capacity * 2)
        larger.moveInitialize(from: state.pointee.heap, count: state.pointee.count)
        state.pointee.heap.deallocate()
        state.pointee.heap = larger
        state.pointee.capacity *= 2
    }
}

/// What a ``Deadline`` calls.
public protocol DeadlineTarget: AnyObject {
    /// The deadline armed with this tag has come; it is no longer armed and may be armed again.
    func deadlineReached(_ tag: Int, at cycle: Cycle)
}

/// One thing that a model waits for: armed for at most one cycle at a time.
///
/// A model that waits for many things keeps them in order itself and arms one deadline for the first. That way all that is in
/// flight is in the model's own state, where a snapshot finds it.
public final class Deadline {
    /// For people: `wdt.bark`, `vf3.blk.complete`.
    public let name: String
    public let tag: Int
    /// Neither counted nor checked, as every event of a device passes here. The target owns the deadline alone, so it is there as long as
    /// the deadline is.
    private unowned(unsafe) let target: any DeadlineTarget
    private let scheduler: Scheduler

    /// Its place in the scheduler's heap; -1 while it is not armed. Only the scheduler's methods use it, none inside another's access.
    @exclusivity(unchecked) fileprivate var position = -1

    /// - Parameter target: who keeps the deadline, and nobody else does.
    public init(_ name: String, on scheduler: Scheduler, target: any DeadlineTarget, tag: Int = 0) {
        self.name = name
        self.scheduler = scheduler
        self.target = target
        self.tag = tag
    }

    deinit { scheduler.remove(self) }

    /// The cycle for which it is armed, nil if it isn't.
    public var due: Cycle? { position >= 0 ? scheduler.due(at: position) : nil }

    /// Arms it for `cycle`, instead of whatever it was armed for. One that has passed means now.
    public func arm(at cycle: Cycle) {
        scheduler.insert(self, at: cycle)
    }

    /// Disarms the deadline; one that isn't armed stays so.
    public func cancel() {
        scheduler.remove(self)
    }

    /// Saves what it is armed for, or arms it as it was: the scheduler's own state comes before those of its deadlines.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        var isArmed = position >= 0
        try archive.flag(&isArmed)
        guard isArmed else { return scheduler.remove(self) }
        var (cycle, order) = position >= 0 ? (scheduler.due(at: position), scheduler.order(at: position)) : (0, 0)
        try archive.integer(&cycle)
        try archive.integer(&order)
        if archive.isLoading {
            scheduler.remove(self)
            try scheduler.load(self, at: cycle, order: order, from: archive)
        }
    }

    @inline(__always) fileprivate func fire(at cycle: Cycle) { target.deadlineReached(tag, at: cycle) }
}
