/// A count of events, as `/dev/uioN` gives it: a read of exactly 4 bytes waits until the count has moved since this opening last
/// read it (or since it was opened), and returns the whole count.
public final class EventFile: StreamFile, @unchecked Sendable {
    private var events: UInt32 = 0
    private var hasFailed = false

    private final class Listener: OpenFile {
        var seen: UInt32 = 0
    }

    public override init(permissions: UInt16 = 0o600) {
        super.init(permissions: permissions)
    }

    /// Events so far.
    public var count: UInt32 { withLock { events } }

    /// One more event, from any thread.
    public func raise() {
        withLock { events &+= 1 }
        changed()
    }

    /// There will be none any more: EIO for all who wait, and for all who read from now on.
    public func fail() {
        withLock { hasFailed = true }
        changed()
    }

    public override func open(flags: Int32) throws(Errno) -> OpenFile? {
        let listener = Listener(flags: flags)
        listener.seen = count
        return listener
    }

    public override func take(_ count: Int, for open: OpenFile?) -> Outcome {
        guard count == 4, let listener = open as? Listener else { return .failed(.invalidArgument) }
        if hasFailed { return .failed(.inputOutput) }
        guard listener.seen != events else { return .nothing }
        listener.seen = events
        return .bytes(withUnsafeBytes(of: events) { Array($0) })
    }

    public override func isReadable(for open: OpenFile?) -> Bool {
        guard let listener = open as? Listener else { return false }
        return listener.seen != events
    }

    public override var isBroken: Bool { hasFailed }

    /// uio_pci_generic has no interrupt control: ENOSYS (Linux, `uio_write`).
    public override func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        throw .notImplemented
    }
}
