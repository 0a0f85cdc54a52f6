import Hardware

/// The firmware's memory in a test, of the sizes that it has on the device.
final class TestStorage {
    let value: Storage

    init() {
        value = Storage(
            trace: .allocate(capacity: 4 + 512 * 4), counters: .allocate(capacity: 32),
            arena: .allocate(byteCount: 1216 * 1024, alignment: 8), kept: .allocate(byteCount: 33 * 1024, alignment: 8))
        value.kept.initializeMemory(as: UInt8.self, repeating: 0)
        value.trace.initialize(repeating: 0)
        value.counters.initialize(repeating: 0)
    }

    deinit {
        value.trace.deallocate()
        value.counters.deallocate()
        value.arena.deallocate()
        value.kept.deallocate()
    }
}
