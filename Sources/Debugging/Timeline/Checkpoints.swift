import OffloadDevice
import Simulation

/// A place of a recording to which a device can go at once.
struct Checkpoint {
    let position: Position
    /// No hart has executed an instruction that begins in this cycle or later.
    let latest: Cycle
    /// What it takes to come here from the beginning: ``Timeline/work``.
    let work: UInt64
    let snapshot: Snapshot
    var bookmark: Replayer.Bookmark
    /// What it takes beside the one before.
    fileprivate(set) var byteCount = 0

    init(position: Position, latest: Cycle, work: UInt64, snapshot: Snapshot, bookmark: Replayer.Bookmark) {
        self.position = position
        self.latest = latest
        self.work = work
        self.snapshot = snapshot
        self.bookmark = bookmark
    }
}

/// Some places of a recording, ordered: near the present ones that are close to each other, the farther away the fewer.
struct Checkpoints {
    /// More are not kept, and not more bytes, but for the first and the last.
    let capacity: Int, byteCapacity: Int
    private(set) var all: [Checkpoint] = []
    private var byteCount = 0

    init(capacity: Int, byteCapacity: Int) {
        precondition(capacity >= 3, "the first, the last and one between them")
        self.capacity = capacity
        self.byteCapacity = byteCapacity
    }

    /// The last one at a position or before.
    func last(upTo position: Position) -> Checkpoint? {
        let end = all.partitioningIndex { $0.position > position }
        return end == 0 ? nil : all[end - 1]
    }

    /// The last one before a position.
    func last(before position: Position) -> Checkpoint? {
        let end = all.partitioningIndex { $0.position >= position }
        return end == 0 ? nil : all[end - 1]
    }

    /// The last one from which a cycle is still to come, or the first of all.
    func last(upToCycle cycle: Cycle) -> Checkpoint { all.last { $0.latest <= cycle } ?? all[0] }

    /// Keeps one more.
    /// - Parameter focus: the work to the place near which the dense ones are to be.
    mutating func insert(_ checkpoint: Checkpoint, focus: UInt64) {
        let place = all.partitioningIndex { $0.position >= checkpoint.position }
        if place < all.count, all[place].position == checkpoint.position { return }
        all.insert(checkpoint, at: place)
        weigh(place)
        weigh(place + 1)
        while all.count > 2, all.count > capacity || byteCount > byteCapacity { thin(focus) }
    }

    /// Counts the bytes of the one at a place anew: the one before it is another.
    private mutating func weigh(_ place: Int) {
        guard all.indices.contains(place), place > 0 else { return }
        byteCount -= all[place].byteCount
        all[place].byteCount = all[place].snapshot.byteCount(beside: all[place - 1].snapshot)
        byteCount += all[place].byteCount
    }

    /// The recording has grown.
    mutating func follow(_ recording: Recording) throws(RecordingError) {
        for index in all.indices { try all[index].bookmark.follow(recording) }
    }

    /// Drops the one, neither first nor last, that leaves the smallest gap for how far away it is.
    private mutating func thin(_ focus: UInt64) {
        var best: (index: Int, score: Double)?
        for index in 1..<(all.count - 1) {
            let gap = all[index + 1].work &- all[index - 1].work
            let distance = all[index].work > focus ? all[index].work - focus : focus - all[index].work
            let score = Double(gap) / Double(max(distance, Timeline.closest))
            if score < best?.score ?? .infinity { best = (index, score) }
        }
        guard let best else { return }
        byteCount -= all.remove(at: best.index).byteCount
        weigh(best.index)
    }
}

extension Array {
    /// The index of the first element of which this is true; it must be false of all before and true of all after.
    func partitioningIndex(where isAfter: (Element) -> Bool) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
