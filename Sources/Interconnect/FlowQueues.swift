import Simulation

/// First-in first-out queues, one for each flow, in one pool of entries: a value without references, as a snapshot needs it.
struct FlowQueues<Element: Sendable>: Sendable {
    /// The host, 64 virtual machines and the device itself.
    static var flows: Int { 66 }

    private struct Entry: Sendable {
        var element: Element
        var next: Int32
    }

    private var entries: [Entry] = []
    private var free: Int32 = -1
    private var first = [Int32](repeating: -1, count: Self.flows)
    private var last = [Int32](repeating: -1, count: Self.flows)
    /// Elements in all queues.
    private(set) var count = 0
    /// The flows whose queue isn't empty, ascending.
    private(set) var backlogged: [Int] = []

    func isEmpty(_ flow: Int) -> Bool { first[flow] < 0 }

    mutating func append(_ element: Element, to flow: Int) {
        let place: Int32
        if free >= 0 {
            place = free
            free = entries[Int(place)].next
            entries[Int(place)] = Entry(element: element, next: -1)
        } else {
            place = Int32(entries.count)
            entries.append(Entry(element: element, next: -1))
        }
        if last[flow] >= 0 {
            entries[Int(last[flow])].next = place
        } else {
            first[flow] = place
            backlogged.insert(flow, at: backlogged.firstIndex { $0 > flow } ?? backlogged.count)
        }
        last[flow] = place
        count += 1
    }

    /// The oldest element of a queue that isn't empty.
    subscript(first flow: Int) -> Element {
        get { entries[Int(first[flow])].element }
        set { entries[Int(first[flow])].element = newValue }
    }

    @discardableResult
    mutating func removeFirst(_ flow: Int) -> Element {
        let place = first[flow]
        let entry = entries[Int(place)]
        first[flow] = entry.next
        if entry.next < 0 {
            last[flow] = -1
            backlogged.removeAll { $0 == flow }
        }
        entries[Int(place)].next = free
        free = place
        count -= 1
        return entry.element
    }

    /// Removes what the condition holds for from one queue; the rest keep their order.
    mutating func removeAll(of flow: Int, where condition: (Element) -> Bool) {
        var kept: [Element] = []
        while !isEmpty(flow) {
            let element = removeFirst(flow)
            if !condition(element) { kept.append(element) }
        }
        for element in kept { append(element, to: flow) }
    }

    /// Saves or replaces the queues, flow by flow. Where an element lies in the pool is of no consequence and isn't kept.
    /// - Parameter blank: what stored elements are read into.
    mutating func archive(
        _ archive: inout StateArchive, blank: Element,
        _ field: (inout StateArchive, inout Element) throws(SnapshotError) -> Void
    ) throws(SnapshotError) {
        var loaded = Self()
        for flow in 0..<Self.flows {
            var elements = archive.isLoading ? [] : elements(of: flow)
            try archive.array(&elements, limit: Self.storedLimit, blank: blank, field)
            for element in elements { loaded.append(element, to: flow) }
        }
        if archive.isLoading { self = loaded }
    }

    /// More than all submitters of a machine have in flight.
    private static var storedLimit: Int { 1 << 20 }

    private func elements(of flow: Int) -> [Element] {
        var elements: [Element] = []
        var place = first[flow]
        while place >= 0 {
            elements.append(entries[Int(place)].element)
            place = entries[Int(place)].next
        }
        return elements
    }
}

extension Owner {
    /// The owner's flow: its number, 65 for the device itself and for numbers that nobody has.
    public var flow: Int { rawValue <= 64 ? Int(rawValue) : 65 }
}

/// Is told that something it gave to a ``Link`` or a ``ServicePool`` is done.
///
/// What is in flight is in the link's or the pool's state and in the submitter's, tied by the submitter's own `id`: neither holds
/// a closure.
public protocol CompletionSink: AnyObject {
    func completed(_ id: UInt64, at cycle: Cycle)
}

/// A submitter at a ``Link`` or a ``ServicePool``: where completions go. Ports are numbered in the order of their creation, so that the
/// numbers in a snapshot mean the same in a machine of the same description.
public struct SubmitterPort: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
}

/// The far ends of the ports of one link or pool.
struct CompletionSinks {
    /// A class, because copying a weak reference out of an array costs more than the rest of a completion.
    private final class Reference {
        private(set) weak var sink: (any CompletionSink)?

        init(_ sink: any CompletionSink) {
            self.sink = sink
        }
    }

    private var references: [Reference] = []

    mutating func add(_ sink: any CompletionSink) -> SubmitterPort {
        references.append(Reference(sink))
        return SubmitterPort(rawValue: references.count - 1)
    }

    /// Saves or replaces a port's number, which must be one of these.
    func archive(_ port: inout SubmitterPort, _ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&port.rawValue)
        try archive.require(
            references.indices.contains(port.rawValue), "expected a port below \(references.count), found \(port.rawValue)")
    }

    /// Who listens at a port; the caller tells it after it has let go of this value.
    subscript(port: SubmitterPort) -> (any CompletionSink)? { references[port.rawValue].sink }
}
