/// What is at the far end of a ``Wire``: an interrupt controller's input, a hart's interrupt pin.
public protocol WireSink: AnyObject {
    /// Input number `input` has changed its level.
    func wireChanged(_ input: Int, level: Bool)
}

/// A level-sensitive line from one model to one input of another.
///
/// A block drives its interrupt through a wire and never learns who listens.
public final class Wire {
    public let name: String
    @exclusivity(unchecked) public private(set) var level = false
    private weak var sink: (any WireSink)?
    private var input = 0

    public init(_ name: String) {
        self.name = name
    }

    /// Connects the far end, which hears of the present level at once if that is high.
    public func connect(to sink: any WireSink, input: Int) {
        self.sink = sink
        self.input = input
        if level { sink.wireChanged(input, level: true) }
    }

    /// Sets the level; whoever listens hears of a change only.
    public func drive(_ level: Bool) {
        guard level != self.level else { return }
        self.level = level
        sink?.wireChanged(input, level: level)
    }

    /// Saves or replaces the level. The far end isn't told: it loads a state of its own.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) { try archive.flag(&level) }
}
