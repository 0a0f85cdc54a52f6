/// A point in device time: fabric cycles since power-on. The only clock that a model reads.
public typealias Cycle = UInt64

/// Device time and everything that is due in it.
///
/// The scheduler is a binary heap of armed ``Deadline``s, ordered by (cycle, order of arming), so that what is due at the same
/// cycle fires in a stable order whatever the heap did meanwhile.
public final class Scheduler {
    /// The present device cycle. Monotonic.
    public private(set) var now: Cycle = 0
    /// The cycle of the earliest armed deadline, `Cycle.max` when nothing is armed. A hart never runs past it.
    public private(set) var nextDue: Cycle = .max

    /// How many deadlines have been armed so far: the tie-break of the heap's order.
    @usableFromInline var armed: UInt64 = 0
    private var heap: [Deadline] = []

    public init() {}

    /// Fires everything due up to and including `cycle`, each at its own time, and leaves `now` at `cycle`.
    ///
    /// A deadline that is armed meanwhile and due by then fires too. A `cycle` that has passed is ignored.
    public func advance(to cycle: Cycle) {
        while nextDue <= cycle {
            let deadline = heap[0]
            if deadline.cycle > now { now = deadline.cycle }
            remove(deadline)
            deadline.target?.deadlineReached(deadline.tag, at: now)
        }
        if cycle > now { now = cycle }
    }

    /// The armed deadlines in the order in which they will fire, for people who look at a device.
    public var pending: [(name: String, due: Cycle)] {
        heap.sorted { $0.isBefore($1) }.map { ($0.name, $0.cycle) }
    }

    fileprivate func insert(_ deadline: Deadline, at cycle: Cycle) {
        deadline.cycle = cycle
        deadline.order = armed
        armed &+= 1
        if deadline.position >= 0 {
            siftDown(siftUp(deadline.position))
        } else {
            heap.append(deadline)
            deadline.position = heap.count - 1
            siftUp(deadline.position)
        }
        nextDue = heap[0].cycle
    }

    fileprivate func remove(_ deadline: Deadline) {
        let hole = deadline.position
        guard hole >= 0 else { return }
        deadline.position = -1
        let last = heap.removeLast()
        if last !== deadline {
            heap[hole] = last
            last.position = hole
            siftDown(siftUp(hole))
        }
        nextDue = heap.first?.cycle ?? .max
    }

    @discardableResult
    private func siftUp(_ start: Int) -> Int {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { break }
            exchange(child, parent)
            child = parent
        }
        return child
    }

    private func siftDown(_ start: Int) {
        var parent = start
        while true {
            var first = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < heap.count && heap[child].isBefore(heap[first]) {
                first = child
            }
            guard first != parent else { return }
            exchange(parent, first)
            parent = first
        }
    }

    private func exchange(_ a: Int, _ b: Int) {
        heap.swapAt(a, b)
        heap[a].position = a
        heap[b].position = b
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
    public private(set) weak var target: (any DeadlineTarget)?
    private unowned let scheduler: Scheduler

    fileprivate var cycle: Cycle = 0
    fileprivate var order: UInt64 = 0
    /// Its place in the scheduler's heap; -1 while it is not armed.
    fileprivate var position = -1

    public init(_ name: String, on scheduler: Scheduler, target: any DeadlineTarget, tag: Int = 0) {
        self.name = name
        self.scheduler = scheduler
        self.target = target
        self.tag = tag
    }

    /// The cycle for which it is armed, nil if it isn't.
    public var due: Cycle? { position >= 0 ? cycle : nil }

    /// Arms it for `cycle`, instead of whatever it was armed for. One that has passed means now.
    public func arm(at cycle: Cycle) {
        scheduler.insert(self, at: max(cycle, scheduler.now))
    }

    public func cancel() {
        scheduler.remove(self)
    }

    fileprivate func isBefore(_ other: Deadline) -> Bool {
        (cycle, order) < (other.cycle, other.order)
    }
}
