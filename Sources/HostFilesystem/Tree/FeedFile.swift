import Glibc

/// A file of things that come by themselves: a console's characters, a trace's accesses. Each opening reads them for itself.
///
/// The latest are kept; an opening that falls further behind goes on with the oldest kept, after a line that says so. They are turned into
/// text only when somebody reads them.
public final class FeedFile<Item: Sendable>: StreamFile, @unchecked Sendable {
    /// What an opening shows.
    public enum Reading: Sendable {
        /// All that is kept, then the end of the file until there is more.
        case untilNow
        /// What comes after it was opened; a read waits for it.
        case fromNow
    }

    public typealias Render = (_ item: Item, _ text: inout [UInt8]) -> Void
    public typealias Input = (_ text: String) throws(Errno) -> Void

    private let limit: Int
    private let reading: Reading
    private let render: Render
    private let input: Input?
    /// Is told when the first opening comes and when the last one has gone, on the serving thread.
    public var onUse: ((_ isOpen: Bool) -> Void)?

    /// What is kept, and how many came before.
    private var kept: [Item] = []
    private var dropped = 0
    private var openings = 0

    private final class Reader: OpenFile {
        /// Items seen, of all that ever came.
        var position = 0
        /// Text of items seen that the client has not read yet.
        var text: [UInt8] = []
    }

    /// - Parameters:
    ///   - limit: items kept.
    ///   - input: takes what is written to the file, if it can be.
    public init(limit: Int, reading: Reading, input: Input? = nil, render: @escaping Render) {
        self.limit = limit
        self.reading = reading
        self.input = input
        self.render = render
        super.init(permissions: input == nil ? 0o444 : 0o644)
    }

    /// One more item, from any thread.
    public func append(_ item: Item) {
        withLock {
            kept.append(item)
            // Twice the limit before anything moves, so that appending stays cheap.
            if kept.count > 2 * limit {
                dropped += kept.count - limit
                kept.removeFirst(kept.count - limit)
            }
        }
        changed()
    }

    public override func open(flags: Int32) throws(Errno) -> OpenFile? {
        if flags & O_ACCMODE != O_RDONLY && input == nil { throw .accessDenied }
        let reader = Reader(flags: flags)
        withLock {
            openings += 1
            reader.position = reading == .untilNow ? dropped : dropped + kept.count
        }
        if openings == 1 { onUse?(true) }
        return reader
    }

    public override func close(_ file: OpenFile?) {
        super.close(file)
        withLock { openings -= 1 }
        if openings == 0 { onUse?(false) }
    }

    public override func take(_ count: Int, for open: OpenFile?) -> Outcome {
        guard let reader = open as? Reader else { return .failed(.inputOutput) }
        if reader.position < dropped {
            reader.text += Array("[\(dropped - reader.position) lost]\n".utf8)
            reader.position = dropped
        }
        while reader.text.count < count, reader.position < dropped + kept.count {
            render(kept[reader.position - dropped], &reader.text)
            reader.position += 1
        }
        if reader.text.isEmpty { return reading == .untilNow ? .bytes([]) : .nothing }
        let bytes = Array(reader.text.prefix(count))
        reader.text.removeFirst(bytes.count)
        return .bytes(bytes)
    }

    public override func isReadable(for open: OpenFile?) -> Bool {
        guard let reader = open as? Reader else { return false }
        return !reader.text.isEmpty || reader.position < dropped + kept.count
    }

    public override func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let input else { throw .accessDenied }
        try input(String(decoding: bytes, as: UTF8.self))
        return bytes.count
    }
}
