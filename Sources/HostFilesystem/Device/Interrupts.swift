import PCIExpress
import Synchronization

/// Counts the functions' interrupts in their UIO nodes: the kernel's interrupt handler. From whichever thread they come.
final class InterruptCounters: Sendable {
    /// By function index.
    private let events = Mutex([EventFile?](repeating: nil, count: HierarchyDescription.indexLimit))

    func connect(_ file: EventFile, function: Int) {
        events.withLock { $0[function] = file }
    }

    func disconnect(function: Int) {
        events.withLock { $0[function] = nil }
    }

    func raise(function: Int) {
        events.withLock { $0.indices.contains(function) ? $0[function] : nil }?.raise()
    }
}
